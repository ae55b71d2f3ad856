"""How fast is Weir on one core, between a bare consumer and what people write today?"""
