"""The family of each language whose imports are understood: the names are those of `languages`.

Files of other languages need nothing and are shown alone, as DeepSeek-Coder left the languages that
it did not parse at file level (a DeepSeek author in DeepSeek-Coder issue #43).
"""

from collections.abc import Mapping

from midfill.corpus.dependencies import (
    c,
    csharp,
    dart,
    go,
    haskell,
    includes,
    javascript,
    jvm,
    lua,
    perl,
    php,
    python,
    ruby,
    rust,
    shell,
    swift,
)
from midfill.corpus.dependencies.family import Family

FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(python.LANGUAGES, python.resolver),
    **dict.fromkeys(javascript.LANGUAGES, javascript.resolver),
    **dict.fromkeys(jvm.LANGUAGES, jvm.resolver),
    **dict.fromkeys(c.LANGUAGES, c.resolver),
    **dict.fromkeys(csharp.LANGUAGES, csharp.resolver),
    **dict.fromkeys(go.LANGUAGES, go.resolver),
    **dict.fromkeys(rust.LANGUAGES, rust.resolver),
    **dict.fromkeys(php.LANGUAGES, php.resolver),
    **dict.fromkeys(ruby.LANGUAGES, ruby.resolver),
    **dict.fromkeys(swift.LANGUAGES, swift.resolver),
    **dict.fromkeys(lua.LANGUAGES, lua.resolver),
    **dict.fromkeys(perl.LANGUAGES, perl.resolver),
    **dict.fromkeys(shell.LANGUAGES, shell.resolver),
    **dict.fromkeys(haskell.LANGUAGES, haskell.resolver),
    **dict.fromkeys(dart.LANGUAGES, dart.resolver),
    **dict.fromkeys(includes.LANGUAGES, includes.resolver),
}
