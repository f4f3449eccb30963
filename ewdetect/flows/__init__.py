"""How raw records become canonical flows: source.yml as values, those as SQL, and the files to read."""

from ewdetect.flows.reading import source_from
from ewdetect.flows.source import Case, FieldSpec, Format, Orientation, Source, Term, Traits

__all__ = ["Case", "FieldSpec", "Format", "Orientation", "Source", "Term", "Traits", "source_from"]
