"""Edges among Ruby, Lua, Perl and shell files, worked out by hand."""

from import_edges import edges
from midfill.corpus.dependencies import lua, perl, ruby, shell


def test_ruby_requires():
    texts = {
        "lib/gem.rb": """
            require 'json'
            require "gem/one"
            require_relative 'gem/two'
            =begin
            require 'gem/dead'
            =end
            module Gem
              autoload :Three, "gem/three"
              TEXT = <<~RUBY
                require 'gem/dead'
              RUBY
            end
            # require 'gem/dead'
            __END__
            require 'gem/dead'
            """,
        "lib/gem/one.rb": "require File.expand_path('../two', __FILE__)\n",
        "lib/gem/two.rb": "load File.join(File.dirname(__FILE__), 'three.rb')\n",
        "lib/gem/three.rb": "",
        "lib/gem/dead.rb": "",
        "spec/spec_helper.rb": "require 'gem'\n",
        "spec/a/one_spec.rb": "require 'spec_helper'\n",
        "other/lib/away.rb": "",
        "tool.rb": "require 'away'\nrequire './lib/gem'\n",
        "x.gemspec": 's.require_paths = ["lib", "ext/special"]\n',
        "ext/special/odd.rb": "",
        "bin/run.rb": "require 'odd'\n",
    }
    assert edges(ruby, texts, ".rb") == {
        "lib/gem.rb": {"lib/gem/one.rb", "lib/gem/two.rb", "lib/gem/three.rb"},
        "lib/gem/one.rb": {"lib/gem/two.rb"},
        "lib/gem/two.rb": {"lib/gem/three.rb"},
        "spec/spec_helper.rb": {"lib/gem.rb"},
        "spec/a/one_spec.rb": {"spec/spec_helper.rb"},
        "tool.rb": {"other/lib/away.rb", "lib/gem.rb"},
        "bin/run.rb": {"ext/special/odd.rb"},
    }


def test_lua_requires():
    texts = {
        "main.lua": """
            local a = require "pkg.a"
            local b = require('pkg.sub')
            -- require "pkg.dead"
            --[[ require "pkg.dead"
            require "pkg.dead" ]]
            dofile("script.lua")
            my_require "pkg.dead"
            local far = require "deep.only"
            """,
        "lua/pkg/a.lua": 'return require(... .. ".inner")\n',
        "lua/pkg/a/inner.lua": "",
        "lua/pkg/sub/init.lua": "require 'stated.name'\n",
        "lua/pkg/dead.lua": "",
        "script.lua": "",
        "x/y/deep/only.lua": "",
        "odd/file.lua": "",
        "z-1.rockspec": 'build = { modules = { ["stated.name"] = "odd/file.lua" } }\n',
    }
    assert edges(lua, texts, ".lua") == {
        "main.lua": {"lua/pkg/a.lua", "lua/pkg/sub/init.lua", "script.lua", "x/y/deep/only.lua"},
        "lua/pkg/a.lua": {"lua/pkg/a/inner.lua"},
        "lua/pkg/sub/init.lua": {"odd/file.lua"},
    }


def test_perl_modules_and_files():
    texts = {
        "lib/A.pm": """
            package A;
            use strict;
            use parent -norequire, 'A::Base';
            use base qw(A::Role A::Other);

            =head1 SYNOPSIS

              use A::Dead;

            =cut

            print <<'EOT';
            use A::Dead;
            EOT
            require A::Late;
            1;
            __END__
            use A::Dead;
            """,
        "lib/A/Base.pm": "package A::Base;\n1;\n",
        "lib/A/Role.pm": "package A::Role;\n1;\n",
        "lib/A/Dead.pm": "package A::Dead;\n1;\n",
        "lib/A/Late.pm": "package A::Late;\nextends 'A::Base';\n1;\n",
        "misc/several.pm": "package A::Other;\n1;\npackage A::Another;\n1;\n",
        "script.pl": "use lib 'inc';\nuse Mine;\nuse A;\ndo './conf.pl';\n# use A::Dead;\n",
        "inc/Mine.pm": "package Mine;\n1;\n",
        "conf.pl": "",
        "lib/M.pm": "package M;\nuse Mojo::Base 'A::Base', -signatures;\n",
        "t/lib/T.pm": "package T;\n",
        "t/a.t": "use T;\nuse A::Base ();\n",
    }
    assert edges(perl, texts) == {
        "lib/A.pm": {"lib/A/Base.pm", "lib/A/Role.pm", "misc/several.pm", "lib/A/Late.pm"},
        "lib/A/Late.pm": {"lib/A/Base.pm"},
        "script.pl": {"inc/Mine.pm", "lib/A.pm", "conf.pl"},
        "lib/M.pm": {"lib/A/Base.pm"},
        "t/a.t": {"t/lib/T.pm", "lib/A/Base.pm"},
    }


def test_shell_sources():
    texts = {
        "bin/run.sh": """
            #!/bin/sh
            . ./env.sh
            source "$(dirname "$0")/lib/a.sh"
            source "${BASH_SOURCE%/*}/lib/b.sh"
            [ -f x ] && . "$ROOT/lib/top.sh"
            . "$(cd "$(dirname "$0")" && pwd)/lib/c.sh"
            # . lib/dead.sh
            cat <<EOF
            . lib/dead.sh
            EOF
            source /etc/profile
            . "$FILE"
            echo done. lib/dead.sh
            """.replace("\n            ", "\n"),
        "bin/env.sh": "",
        "bin/lib/a.sh": "",
        "bin/lib/b.sh": "",
        "bin/lib/c.sh": "",
        "bin/lib/dead.sh": "",
        "lib/top.sh": "",
        "etc/profile": "",
        "test/a.bats": "load test_helper\nload 'helpers/more.bash'\n",
        "test/test_helper.bash": "",
        "test/helpers/more.bash": "",
    }
    assert edges(shell, texts, ".sh", ".bats") == {
        "bin/run.sh": {"bin/env.sh", "bin/lib/a.sh", "bin/lib/b.sh", "lib/top.sh", "bin/lib/c.sh"},
        "test/a.bats": {"test/test_helper.bash", "test/helpers/more.bash"},
    }


def test_required_by_other_means_than_a_statement():
    """What tests and scripts are wont to write: protected calls, checks, paths joined of parts."""
    texts = {
        "src/a/b.lua": "local ok, c = pcall(require, 'a.c')\nlocal d = { require, 'a.d' }\n",
        "src/a/c.lua": "",
    }
    assert edges(lua, texts) == {"src/a/b.lua": {"src/a/c.lua"}}
    texts = {
        "t/load.t": "BEGIN { use_ok('A::B') }\nrequire_ok 'A::C';\nuse_okay('A::D');\n",
        "lib/A/B.pm": "package A::B;\n",
        "lib/A/C.pm": "package A::C;\n",
        "lib/A/D.pm": "package A::D;\n",
    }
    assert edges(perl, texts) == {"t/load.t": {"lib/A/B.pm", "lib/A/C.pm"}}
    texts = {
        "bin/run": 'load File.join(__dir__, "..", "tasks", "a.rb")\n'
        'require File.expand_path("../lib/b", __FILE__)\n',
        "tasks/a.rb": "",
        "bin/lib/b.rb": "",
    }
    assert edges(ruby, texts) == {"bin/run": {"tasks/a.rb", "bin/lib/b.rb"}}
