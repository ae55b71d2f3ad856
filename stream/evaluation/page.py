"""The frame of the report: markup and style sheet. Nothing is fetched from anywhere."""

from __future__ import annotations

_LIGHT = """\
    --paper: #fcfcfa; --card: #ffffff; --ink: #1c1f23; --muted: #666c74; --grid: #dfe1e2;
    --line: #e6e7e7; --s0: #2262b4; --s1: #c8501e; --s2: #2f8a5b; --s3: #8650b8; --s4: #b98a10;
    --s5: #1991a3; --s6: #c23d6e; --s7: #7b7f86;"""
_DARK = """\
    --paper: #14171a; --card: #1b1f23; --ink: #e8eaec; --muted: #9aa1a9; --grid: #343a40;
    --line: #2b3036; --s0: #6aa5ee; --s1: #f08a57; --s2: #62bd8c; --s3: #b98be4; --s4: #dcb445;
    --s5: #54c3d4; --s6: #ec7ba3; --s7: #a5a9b0;"""

STYLE = f"""
  :root {{
    color-scheme: light dark;
{_LIGHT}
  }}
  @media (prefers-color-scheme: dark) {{ :root {{
{_DARK}
  }} }}
  * {{ box-sizing: border-box; }}
  body {{
    margin: 0; background: var(--paper); color: var(--ink);
    font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif;
  }}
  main {{ max-width: 1120px; margin: 0 auto; padding: 40px 24px 64px; }}
  h1 {{ font-size: 26px; line-height: 1.2; margin: 0 0 6px; overflow-wrap: anywhere; }}
  h2 {{ font-size: 15px; margin: 0 0 10px; }}
  header p {{ margin: 0 0 28px; color: var(--muted); }}
  .tiles {{
    display: grid; grid-template-columns: repeat(auto-fit, minmax(160px, 1fr)); gap: 12px;
    margin: 0 0 20px;
  }}
  .tiles div, figure, section, details {{
    background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  }}
  .tiles div {{ padding: 14px 18px; }}
  .tiles dt {{ color: var(--muted); font-size: 13px; }}
  .tiles dd {{ margin: 2px 0 0; font-size: 28px; font-weight: 600; line-height: 1.2; }}
  .grid {{ display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 20px; }}
  figure {{ margin: 0; padding: 18px 20px; }}
  figure.wide {{ grid-column: 1 / -1; }}
  figure svg {{ display: block; width: 100%; height: auto; font-family: inherit; }}
  figcaption {{ color: var(--muted); font-size: 13px; margin-top: 8px; }}
  section, details {{ padding: 18px 20px; margin: 20px 0 0; }}
  summary {{ font-weight: 600; cursor: pointer; }}
  details[open] > summary {{ margin-bottom: 14px; }}
  details .grid figure {{ border-color: var(--grid); }}
  table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
  th {{ text-align: left; font-weight: 400; }}
  td, th {{ padding: 5px 0; border-top: 1px solid var(--line); vertical-align: top; }}
  tr:first-child > * {{ border-top: 0; }}
  .pairs {{ margin: 0; column-gap: 48px; }}
  .pairs.columns {{ columns: 2; }}
  .pairs div {{
    display: flex; gap: 16px; padding: 5px 0; border-bottom: 1px solid var(--line);
    break-inside: avoid;
  }}
  .pairs dt {{ color: var(--muted); flex: 0 0 14em; }}
  .pairs dd {{
    margin: 0; min-width: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums;
  }}
  .pairs.columns dd {{ margin-left: auto; }}
  .scroll {{
    overflow-x: auto; background: var(--card); border: 1px solid var(--line);
    border-radius: 10px; padding: 10px 20px; margin-bottom: 20px;
  }}
  .figures {{ width: 100%; }}
  .figures td, .figures thead th {{ text-align: right; padding-left: 18px; white-space: nowrap; }}
  .figures thead th {{ color: var(--muted); font-size: 13px; white-space: normal; }}
  .figures tbody tr > * {{ border-top: 1px solid var(--line); }}
  .figures .best > * {{ font-weight: 650; }}
  .figures i {{
    display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 9px;
  }}
  pre {{ margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 13px; }}
  @media (max-width: 760px) {{
    main {{ padding: 24px 14px 48px; }}
    .grid {{ grid-template-columns: minmax(0, 1fr); }}
    figure.wide .scroller {{ overflow-x: auto; }}
    figure.wide svg {{ width: 720px; }}
    .pairs.columns {{ columns: 1; }}
    .pairs dt {{ flex-basis: 9em; }}
  }}
"""

FRAME = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body><main>
{body}
</main></body>
</html>
"""
