"""Instruction records: conversations about pictures that any image-text model can be tuned on, as Parquet files.

`schema.py` says what a record is, `mix.py` which questions are asked how often, `build.py` writes them, `leak.py`
proves that two sets share no content, `exchange.py` hands them to and takes them from other projects' JSON.
"""
