"""Every message that a user can meet, with its code.

Ranges: ELQ1xx component and model, ELQ2xx knowledge base, ELQ3xx corpora and files,
ELQ4xx commands. A message says what is wrong and what to do about it.
"""

from spacy.errors import ErrorsWithCodes


class ElqError(ValueError):
    """Bad input, a wrong setting or a broken file. Its message starts with a code of `Errors`."""


class Errors(metaclass=ErrorsWithCodes):
    pass


class Warnings(metaclass=ErrorsWithCodes):
    pass
