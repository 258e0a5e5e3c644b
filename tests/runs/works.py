"""Works of many kinds, each as the text of a module that defines `thing`, and a change of it."""

from __future__ import annotations

from textwrap import dedent
from typing import NamedTuple


class Work(NamedTuple):
    """A work and a small change that makes another work of it; no change where `old` is empty."""

    name: str
    source: str
    old: str = ""
    new: str = ""

    @property
    def changed(self) -> str:
        """The other work."""
        assert self.source.count(self.old) >= 1, self.name
        return self.source.replace(self.old, self.new)

    @property
    def elsewhere(self) -> str:
        """The same work on other lines, with other comments."""
        return "# moved\n\n\n" + self.source.replace("\n", "  # said\n\n", 1)


def _work(name: str, source: str, old: str = "", new: str = "") -> Work:
    return Work(name, dedent(source).lstrip("\n"), old, new)


PROGRAM = """
import dspy
class Agent(dspy.Module):
    def __init__(self):
        super().__init__()
        self.first = dspy.Predict("question, notes -> answer: int")
        self.then = dspy.ChainOfThought(dspy.Signature("answer -> verdict: bool", "Judge."))
        self.threshold = 0.5
    def forward(self, question):
        found = self.first(question=question, notes="none")
        return self.then(answer=found.answer)
thing = Agent()
thing.first.demos = [dspy.Example(question="q", answer=1)]
thing.first.lm = dspy.LM("openai/gpt-x", temperature=0.5, api_key="sk-very-secret-key")
"""

PROPOSER = """
import dspy
from ipo_dspy.proposing.proposer import Proposer
class Mine(Proposer):
    def forward(self, meta_prompt, image_descriptions, scored_history, **kwargs):
        return super().forward(meta_prompt + " Be brief.", image_descriptions, scored_history)
thing = Mine()
"""

WORKS = [
    # Numbers and containers
    _work("integer", "thing = 1\nother = 0", "1", "1.0"),
    _work("truth", "thing = True\nother = 0", "True", "1"),
    _work("text", "thing = 'a'\nother = 0", "'a'", "b'a'"),
    _work("not a number", "thing = float('nan')\nother = 0"),
    _work("half a pair", "thing = '\\ud800'\nother = 0", "d800", "d801"),
    _work("sets", "thing = {frozenset('abc'), 'x', ('y', 1), None}\nother = 0", "'x'", "'z'"),
    _work("mapping", "thing = {k: len(k) for k in {'a', 'bb', 'ccc'}}\nother = 0", "ccc", "ccd"),
    _work("tuple, list", "thing = (1, 2)\nother = 0", "(1, 2)", "[1, 2]"),
    _work("order", "thing = [1, 2]\nother = 0", "1, 2", "2, 1"),
    _work("ordered", "from collections import *\nthing = OrderedDict(a=1, b=2)", "a=1, b=2", "b=2, a=1"),
    _work("counter", "from collections import *\nthing = Counter('abca')", "abca", "abc"),
    _work("default", "from collections import *\nthing = defaultdict(list, a=1)", "list", "set"),
    _work("queue", "from collections import *\nthing = deque([1, 2], maxlen=3)", "[1, 2]", "[2, 1]"),
    _work("dates", "import datetime as d\nthing = [d.date(2020, 1, 2), d.timedelta(3)]", "3", "4"),
    _work("zone", "import datetime as d\nthing = d.datetime(2020, 1, 2, tzinfo=d.UTC)", "1, 2", "1, 3"),
    _work("path", "from pathlib import Path\nthing = Path('a') / 'b'", "'b'", "'c'"),
    _work("decimal", "from decimal import Decimal\nthing = Decimal('1.0')", "1.0", "1.00"),
    _work("uuid", "import uuid\nthing = uuid.UUID(int=3)", "3", "4"),
    _work("range", "thing = [range(3), slice(1, 2), ...]\nother = 0", "range(3)", "range(4)"),
    _work("pattern", "import re\nthing = re.compile('a+', re.I)", "re.I", "re.M"),
    _work("arrays", "import numpy as np\nthing = np.arange(6).reshape(2, 3)", "2, 3", "3, 2"),
    _work("objects in arrays", "import numpy as np\nthing = np.array([{'a', 'b'}, 1], object)", "1]", "2]"),
    _work("numpy float", "import numpy as np\nthing = np.float32(0.1)", "float32", "float64"),
    _work("tensor", "import torch\nthing = torch.tensor([1.0, 2.0])", "2.0]", "3.0]"),
    _work("bfloat", "import torch\nthing = torch.ones(3, dtype=torch.bfloat16)", "bfloat16", "float16"),
    _work("layer", "import torch\ntorch.manual_seed(0)\nthing = torch.nn.Linear(2, 2)", "(0)", "(1)"),
    _work("picture", "from PIL import Image\nthing = Image.new('RGB', (4, 4), 'red')", "red", "blue"),
    _work("generator state", "import random\nthing = random.Random(3)", "3", "4"),
    # Functions
    _work("set literal", "def thing(e, p):\n    return e in {'cup', 'hat', 'ball'}", "hat", "bat"),
    _work("lambda", "thing = lambda e, p, trace=None: e == p\nother = 0", "==", "!="),
    _work("two on a line", "thing = [lambda e: e + 1, lambda e: e + 2]\nother = 0", "e + 2", "e + 3"),
    _work("default argument", "def thing(e, p, k=0.5):\n    return e > k", "0.5", "0.6"),
    _work("keyword default", "def thing(e, p, *, k=0.5):\n    return e > k", "0.5", "0.6"),
    _work("argument name", "def thing(e, p, trace=None):\n    return e", "trace", "tracing"),
    _work("nested", "def thing(e, p):\n    def inner(x):\n        return x in {'a', 'b'}\n    return inner(e)", "'b'", "'c'"),
    _work("closure", "def make(k):\n    return lambda e, p: e > k\nthing = make(0.5)", "(0.5)", "(0.6)"),
    _work("closure of a set", "def make(k):\n    return lambda e, p: e in k\nthing = make({'a', 'b'})", "'b'", "'c'"),
    _work("empty cell", "def make():\n    def f():\n        return later\n    if False:\n        later = 1\n    return f\nthing = make()", "return later", "return not later"),
    _work("constant", "K = {'a': 0.5}\ndef thing(e, p):\n    return e > K['a']", "0.5", "0.6"),
    _work("helper", "def helper(e):\n    return deeper(e)\ndef deeper(e):\n    return e + 1\ndef thing(e, p):\n    return helper(e)", "+ 1", "+ 2"),
    _work("in a comprehension", "def helper(e):\n    return e + 1\ndef thing(e, p):\n    return [helper(x) for x in e]", "+ 1", "+ 2"),
    _work("circle", "def even(n):\n    return n == 0 or odd(n - 1)\ndef odd(n):\n    return n != 0 and even(n - 1)\nthing = odd", "n == 0", "n == 2"),
    _work("longer circle", "def thing(n):\n    return a(n)\ndef a(n):\n    return b(n)\ndef b(n):\n    return thing(n)", "return b(n)", "return thing(n)"),
    _work("partial", "from functools import partial\ndef f(k, e, p):\n    return e > k\nthing = partial(f, 0.5)", "0.5", "0.6"),
    _work("partial keyword", "from functools import partial\ndef f(e, p, k):\n    return e > k\nthing = partial(f, k=0.5)", "0.5", "0.6"),
    _work("partial function", "from functools import partial\ndef f(e, p, k):\n    return e > k\nthing = partial(f, k=0.5)", "e > k", "e < k"),
    _work("cached", "from functools import lru_cache\n@lru_cache\ndef thing(e, p):\n    return e > 1", "e > 1", "e > 2"),
    _work("wrapped", "import functools\ndef twice(f):\n    @functools.wraps(f)\n    def g(*a):\n        return 2 * f(*a)\n    return g\n@twice\ndef thing(e, p):\n    return e > 1", "2 *", "3 *"),
    _work("inside the wrapper", "from contextlib import contextmanager\n@contextmanager\ndef thing(e, p):\n    yield e > 1", "e > 1", "e > 2"),
    _work("dispatch", "from functools import singledispatch\n@singledispatch\ndef thing(e):\n    return 1\n@thing.register\ndef _(e: int):\n    return 2", "return 2", "return 3"),
    _work("attribute of a function", "def thing(e, p):\n    return e > thing.k\nthing.k = 0.5", "0.5", "0.6"),
    _work("docstring of a tool", "def thing(e):\n    '''Search the web.'''\n    return e", "web", "house"),
    _work("annotation of a tool", "def thing(e: int):\n    return e", "int", "str"),
    _work("handler", "def thing(e, p):\n    try:\n        return e\n    except ValueError:\n        return 0", "ValueError", "KeyError"),
    _work("asynchronous", "async def thing(e, p):\n    return e", "async def", "def"),
    _work("class in a function", "def thing(e, p):\n    class Inner:\n        k = 0.5\n    return Inner.k", "0.5", "0.6"),
    _work("builtin", "thing = len\nother = 0", "len", "sum"),
    _work("method of a text", "thing = 'abc'.startswith\nother = 0", "abc", "abd"),
    _work("descriptor", "thing = str.lower\nother = 0", "lower", "upper"),
    _work("operator", "import operator\nthing = operator.itemgetter('a', 'b')", "'b'", "'c'"),
    _work("numpy function", "import numpy as np\nthing = [np.add, np.mean]", "np.mean", "np.median"),
    _work("torch function", "import torch\nthing = torch.cosine_similarity", "cosine_similarity", "dist"),
    _work("logger", "import logging\nlog = logging.getLogger('x')\ndef thing(e, p):\n    log.info(e)\n    return e", "return e", "return p"),
    _work("lock", "import threading\nlock = threading.Lock()\ndef thing(e, p):\n    with lock:\n        return e > 1", "e > 1", "e > 2"),
    # Classes and objects
    _work("bound method", "class M:\n    def __init__(self, k):\n        self.k = k\n    def score(self, e, p):\n        return e > self.k\nthing = M(0.5).score", "(0.5)", "(0.6)"),
    _work("code of a method", "class M:\n    def score(self, e, p):\n        return e > 1\nthing = M().score", "> 1", "> 2"),
    _work("method of a class", "class M:\n    k = 0.5\n    @classmethod\n    def score(cls, e, p):\n        return e > cls.k\nthing = M.score", "0.5", "0.6"),
    _work("callable", "class M:\n    def __init__(self):\n        self.words = {'a', 'b', 'c'}\n    def __call__(self, e, p):\n        return self.help(e)\n    def help(self, e):\n        return e in self.words\nthing = M()", "'c'", "'d'"),
    _work("code that it calls", "class M:\n    def __call__(self, e, p):\n        return self.help(e)\n    def help(self, e):\n        return e > 1\nthing = M()", "> 1", "> 2"),
    _work("slots", "class M:\n    __slots__ = ('k', 'unset')\n    def __init__(self):\n        self.k = 0.5\n    def __call__(self, e, p):\n        return e > self.k\nthing = M()", "0.5", "0.6"),
    _work("base class", "class Base:\n    def __call__(self, e, p):\n        return e > 1\nclass M(Base):\n    pass\nthing = M()", "> 1", "> 2"),
    _work("super", "class Base:\n    def __call__(self, e, p):\n        return e > 1\nclass M(Base):\n    def __call__(self, e, p):\n        return not super().__call__(e, p)\nthing = M()", "not super", "super"),
    _work("property", "class M:\n    @property\n    def k(self):\n        return 0.5\n    def __call__(self, e, p):\n        return e > self.k\nthing = M()", "0.5", "0.6"),
    _work("cached property", "from functools import cached_property\nclass M:\n    @cached_property\n    def k(self):\n        return 0.5\nthing = M()", "0.5", "0.6"),
    _work("static method", "class M:\n    @staticmethod\n    def k():\n        return 0.5\nthing = M()", "0.5", "0.6"),
    _work("class itself", "class thing:\n    k = {'a', 'b'}", "'b'", "'c'"),
    _work("abstract", "from abc import ABC, abstractmethod\nclass B(ABC):\n    @abstractmethod\n    def f(self): ...\nclass thing(B):\n    def f(self):\n        return 1", "return 1", "return 2"),
    _work("protocol", "from typing import Protocol\nclass P(Protocol):\n    k: int\n    def f(self) -> int: ...\nclass thing(P):\n    def f(self):\n        return 1", "return 1", "return 2"),
    _work("dataclass", "from dataclasses import dataclass, field\n@dataclass(frozen=True)\nclass D:\n    a: int = 1\n    b: set = field(default_factory=set)\nthing = D(3, {'x', 'y'})", "'y'", "'z'"),
    _work("type of a dataclass", "from dataclasses import dataclass\n@dataclass\nclass thing:\n    a: int = 1", "int", "str"),
    _work("named tuple", "from typing import NamedTuple\nclass N(NamedTuple):\n    a: int\nthing = N(3)", "(3)", "(4)"),
    _work("enum", "from enum import Enum\nclass E(Enum):\n    A = 'a'\n    B = 'b'\nthing = E.A", "thing = E.A", "thing = E.B"),
    _work("members", "from enum import StrEnum\nclass E(StrEnum):\n    A = 'a'\n    B = 'b'\nthing = E", "'b'", "'c'"),
    _work("flags", "from enum import IntFlag\nclass E(IntFlag):\n    A = 1\n    B = 2\nthing = E.A | E.B", "E.A | E.B", "E.A"),
    _work("kind of text", "class T(str):\n    pass\nthing = T('a')", "'a'", "'b'"),
    _work("kind of mapping", "class T(dict):\n    pass\nthing = T(a=1)\nthing.k = 2", "k = 2", "k = 3"),
    _work("plain object", "class T:\n    pass\nthing = T()\nthing.me = thing\nthing.k = 2", "k = 2", "k = 3"),
    _work("exception", "thing = ValueError('a')\nother = 0", "'a'", "'b'"),
    _work("reduced", "def make(k):\n    return T(k)\nclass T:\n    def __init__(self, k):\n        self.k = k\n    def __reduce__(self):\n        return make, (self.k,)\nthing = T(1)", "T(1)", "T(2)"),
    _work("left out by its state", "import socket\nclass T:\n    def __init__(self):\n        self.k, self.s = 1, (i for i in '')\n    def __getstate__(self):\n        return {'k': self.k}\nthing = T()", "= 1,", "= 2,"),
    _work("weak", "import weakref\nclass T:\n    def __init__(self):\n        self.cache = weakref.WeakKeyDictionary()\n        self.k = 1\nthing = T()", "= 1", "= 2"),
    _work("space", "from types import SimpleNamespace\nthing = SimpleNamespace(a={'x', 'y'})", "'y'", "'z'"),
    _work("circle of lists", "thing = [1]\nthing.append({'self': thing})", "[1]", "[2]"),
    _work("deep", "thing = 1\nfor _ in range(5000):\n    thing = [thing]", "5000", "5001"),
    _work("pydantic", "from pydantic import BaseModel, Field\nclass P(BaseModel):\n    a: set[str] = Field({'x', 'y'}, description='letters')\n    b: int = 1\nthing = P(b=3)", "(b=3)", "(b=4)"),
    _work("pydantic field", "from pydantic import BaseModel, Field\nclass thing(BaseModel):\n    a: int = Field(1, ge=0, description='letters')", "ge=0", "ge=1"),
    _work("pydantic description", "from pydantic import BaseModel, Field\nclass thing(BaseModel):\n    a: int = Field(1, description='letters')", "letters", "digits"),
    _work("pydantic validator", "from pydantic import BaseModel, field_validator\nclass thing(BaseModel):\n    a: int = 1\n    @field_validator('a')\n    @classmethod\n    def f(cls, v):\n        return v + 1", "+ 1", "+ 2"),
    _work("types", "from typing import *\nthing = [list[int], Optional[int], int | str, Literal['a', 'b'], Annotated[int, 3], dict[str, 'X'], Any, TypeVar('T')]", "'b'", "'c'"),
    # Programs
    _work("output type", PROGRAM, "answer: int", "answer: str"),
    _work("instructions of a step", PROGRAM, "Judge.", "Be strict."),
    _work("demos", PROGRAM, "answer=1", "answer=2"),
    _work("code of forward", PROGRAM, 'notes="none"', 'notes="some"'),
    _work("setting of a program", PROGRAM, "0.5\n    def", "0.6\n    def"),
    _work("model of a step", PROGRAM, "gpt-x", "gpt-y"),
    _work("setting of a model", PROGRAM, "temperature=0.5", "temperature=0.6"),
    _work("code of a proposer", PROPOSER, "Be brief.", "Be long."),
    _work("field description", "import dspy\nclass thing(dspy.Signature):\n    '''Answer.'''\n    q: str = dspy.InputField(desc='asked')\n    a: str = dspy.OutputField()", "asked", "said"),
    _work("order of fields", "import dspy\nthing = dspy.Signature('a, b -> c')", "a, b", "b, a"),
    _work("type of one's own", "import dspy\nfrom pydantic import BaseModel\nclass Found(BaseModel):\n    a: int\nclass thing(dspy.Signature):\n    q: str = dspy.InputField()\n    a: list[Found] = dspy.OutputField()", "a: int", "a: str"),
    _work("settings of a step", "import dspy\nthing = dspy.Predict('a -> b', temperature=0.5)", "0.5", "0.6"),
    _work("tools", "import dspy\ndef look(q: str):\n    return q + '!'\nthing = dspy.ReAct('q -> a', tools=[look], max_iters=3)", "'!'", "'?'"),
    _work("tool", "import dspy\ndef look(q: str):\n    '''Look it up.'''\n    return q\nthing = dspy.Tool(look)", "it up", "it down"),
    _work("best of", "import dspy\nthing = dspy.BestOfN(dspy.Predict('q -> a'), N=2, reward_fn=lambda a, p: 1.0, threshold=1.0)", "1.0, t", "0.5, t"),
    _work("refined", "import dspy\nthing = dspy.Refine(dspy.Predict('q -> a'), N=2, reward_fn=lambda a, p: 1.0, threshold=1.0)", "N=2", "N=3"),
    _work("of thought", "import dspy\nthing = dspy.ProgramOfThought('q -> a', max_iters=3)", "=3", "=4"),
    _work("in parallel", "import dspy\nthing = [dspy.Parallel(num_threads=2), dspy.MultiChainComparison('q -> a', M=3)]", "M=3", "M=4"),
    _work("adapter", "import dspy\nthing = dspy.ChatAdapter()\nother = 0", "Chat", "JSON"),
    _work("own adapter", "import dspy\nclass A(dspy.ChatAdapter):\n    def format(self, *a, **k):\n        return super().format(*a, **k)[:3]\nthing = A()", ":3", ":4"),
    _work("judge in a metric", "import dspy\njudge = dspy.Predict('q -> good: bool')\njudge.lm = dspy.LM('a/b')\ndef thing(e, p):\n    return judge(q=p).good", "a/b", "a/c"),
    _work("image", "import dspy\nfrom PIL import Image\nthing = dspy.Image(Image.new('RGB', (4, 4), 'red'))", "red", "blue"),
    _work("history", "import dspy\nthing = dspy.History(messages=[{'q': 'a', 'a': 'b'}])", "'b'", "'c'"),
    _work("prediction", "import dspy\nthing = dspy.Prediction(a={'x', 'y'})", "'y'", "'z'"),
    _work("example", "import dspy\ndef f(a: str = '42'):\n    return a\nthing = dspy.Example(q='q', tags={'x', 'y'}, functions={'f': f}, dspy_uuid=str(id(f))).with_inputs('q', 'functions')", "'42'", "'43'"),
    _work("inputs of an example", "import dspy\nthing = dspy.Example(q='q', a='a').with_inputs('q')", "inputs('q')", "inputs('a')"),
    _work("classifier", "import ipo_dspy\nthing = ipo_dspy.CLIPClassifier(['cat', 'dog'], ipo_dspy.testing.ColourEncoder(), top_k=3)", "'dog'", "'cow'"),
    _work("template", "import ipo_dspy\nthing = ipo_dspy.CLIPClassifier(['cat'], ipo_dspy.testing.ColourEncoder(), 'a <CLASS>')", "'a <", "'the <"),
    _work("metric for images", "import ipo_dspy\nthing = ipo_dspy.clip_acc", "acc", "prob"),
]
"""Every kind of work that a run may be made of."""
