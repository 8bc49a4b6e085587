"""Which files on disk a checkpoint is made of. Torch-free."""

from pathlib import Path

from midfill.errors import CheckpointError
from midfill.model.hf_config import read_json


def checkpoint_path(path: Path) -> Path:
    """The GGUF file or the Hugging Face folder that `path` means. Raises CheckpointError."""
    if path.is_dir():
        files = sorted(path.glob("*.gguf"))
        if not files or (path / "config.json").exists():
            return path
        if len(files) > 1:
            raise CheckpointError(
                f"{path} holds {len(files)} GGUF files",
                why="it is not clear which one is meant",
                fix=f"name one of them, such as {files[0]}",
            )
        return files[0]
    if not path.exists():
        raise CheckpointError(
            f"{path} does not exist",
            why="a model is a folder with config.json and *.safetensors, or a .gguf file",
            fix="midfill models",
        )
    return path.parent if path.suffix in (".safetensors", ".bin") else path


def weight_files(folder: Path) -> list[Path]:
    """The files of one format that hold the weights of a Hugging Face folder; empty without any.

    Safetensors, else PyTorch's .bin; an index says which. Raises CheckpointError when one that it
    lists is missing.
    """
    return _shards(folder, "model.safetensors", "*.safetensors") or _shards(
        folder, "pytorch_model.bin", "pytorch_model*.bin"
    )


def _shards(folder: Path, single: str, pattern: str) -> list[Path]:
    """The weight files of one format, from the index when there is one."""
    index = folder / f"{single}.index.json"
    if index.exists():
        files = [folder / name for name in _files_of(index)]
        missing = [path.name for path in files if not path.exists()]
        if missing:
            raise CheckpointError(
                f"{folder} lacks {len(missing)} of {len(files)} weight files",
                why=f"{index.name} lists {missing[0]}, which is not there",
                fix="fetch the missing files (midfill pull resumes where it stopped)",
            )
        return files
    if (folder / single).exists():
        return [folder / single]
    return sorted(folder.glob(pattern))


def _files_of(index: Path) -> list[str]:
    weight_map = read_json(index).get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise CheckpointError(
            f"{index} names no weight files",
            why="it has no weight_map from tensors to files",
            fix="fetch the file again",
        )
    return sorted(set(names))
