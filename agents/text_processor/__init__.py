"""A model's processor without its pixels: its tokenizer, chat template and counts of placeholders.

A client of a server only writes tokens; the server makes the pixels itself. For that, transformers
and torch would take a second to import and hundreds of megabytes. What is here reads the same files
of a model's folder with `tokenizers` and jinja2. It knows only what it can know for certain:
anything else is left to transformers, and a server confirms what it wrote before it is used.
"""
