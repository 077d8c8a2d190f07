"""Patterns of log texts: what kernel, systemd and applications write when something happens, and what that means.

`load_library` reads pattern files, a `Matcher` looks for all patterns in one pass over a text, in time that does not depend on
how many there are, and `Subjects` tells which entity a text is about. Importing this loads RE2: do it where it is needed.
"""

from tapio_otel.patterns.examples import check_examples as check_examples
from tapio_otel.patterns.library import load_library as load_library
from tapio_otel.patterns.matcher import MAX_TEXT as MAX_TEXT
from tapio_otel.patterns.matcher import Extracted as Extracted
from tapio_otel.patterns.matcher import Matcher as Matcher
from tapio_otel.patterns.pattern import Example as Example
from tapio_otel.patterns.pattern import Extraction as Extraction
from tapio_otel.patterns.pattern import FieldConditions as FieldConditions
from tapio_otel.patterns.pattern import Library as Library
from tapio_otel.patterns.pattern import Pattern as Pattern
from tapio_otel.patterns.pattern import SubjectRule as SubjectRule
from tapio_otel.patterns.subject import Subjects as Subjects
from tapio_otel.patterns.subject import make_subject as make_subject
from tapio_otel.patterns.writer import Writer as Writer
from tapio_otel.patterns.writer import writer_of as writer_of
