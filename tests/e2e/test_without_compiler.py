"""Where nothing compiles, pip installs a package of pure Python, and that package serves."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import urllib.request
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLAIN = {key: value for key, value in os.environ.items() if not key.startswith("MIDFILL_")}

if not all(map(find_spec, ("scikit_build_core", "nanobind"))):
    pytest.skip("what builds the package is not here: make install", allow_module_level=True)


def wheel(folder: Path, **environment: str) -> Path:
    """The wheel that pip makes of this tree, in a build folder of its own."""
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--wheel-dir", str(folder)]
    command += ["--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    command += ["--config-settings", f"build-dir={folder / 'build'}"]
    made = subprocess.run(
        command, env=PLAIN | environment, capture_output=True, text=True, timeout=50
    )
    assert made.returncode == 0, made.stderr
    (path,) = folder.glob("*.whl")
    return path


def check_pure(path: Path) -> None:
    names = zipfile.ZipFile(path).namelist()
    assert path.name.endswith("-py3-none-any.whl")
    assert "midfill/kernels/cpu.py" in names
    assert "midfill/server/page.html" in names
    assert not [name for name in names if name.endswith((".so", ".cpp", ".h"))]


@pytest.fixture(scope="module")
def without_tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel made where PATH holds no program at all, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    (folder / "nothing").mkdir()
    path = wheel(folder, PATH=str(folder / "nothing"))
    check_pure(path)
    zipfile.ZipFile(path).extractall(folder / "installed")
    return folder / "installed"


def test_asked_to_build_without_the_extension(tmp_path: Path):
    check_pure(wheel(tmp_path, MIDFILL_NO_EXT="1"))


@pytest.mark.skipif(shutil.which("cmake") is None, reason="there is no cmake here")
def test_a_compiler_that_fails(tmp_path: Path):
    check_pure(wheel(tmp_path, CXX=shutil.which("false") or "/bin/false"))


def test_it_serves(without_tools: Path, tiny_folder: Path, tmp_path: Path):
    paths = [str(without_tools), sysconfig.get_path("purelib")]
    environment = PLAIN | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    python = [sys.executable, "-S"]  # else the .pth file of an editable install comes first
    told = "import midfill.kernels.cpu as c; print(c.__file__, c.native, c.why_not, sep='\\n')"
    run = {"env": environment, "cwd": tmp_path, "text": True}
    file, native, why = subprocess.check_output([*python, "-c", told], **run).splitlines()
    assert Path(file).is_relative_to(without_tools)
    assert native == "None"
    assert why == "it was not built when midfill was installed"
    serve = [*python, "-m", "midfill.cli", "serve", str(tiny_folder), "--port", "0", "--json", "-q"]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, **run) as server:
        try:
            assert server.stdout is not None
            url = json.loads(server.stdout.readline())["ready"].split()[-1]
            body = json.dumps({"prompt": "def f(", "max_tokens": 4, "ignore_eos": True}).encode()
            request = urllib.request.Request(
                url.rstrip("/") + "/v1/completions", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                assert json.load(answer)["usage"]["completion_tokens"] == 4
        finally:
            server.terminate()
