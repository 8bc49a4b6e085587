"""The tokenizer of a model: text to ids and back, exact to the byte.

Two readings of text: `encode` takes it as plain text, in which a sentinel is only characters;
`encode_special` takes template output, in which it is a token. Decoding is ours, because the 13
added characters of V1 (õ ÷ Á ý À ÿ ø ú þ ü ù ö û) stand for themselves, not for a byte.
"""

import codecs
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from midfill.errors import RequestError, TokenizerError
from midfill.tokenizer import fim, folder, gguf_keys
from midfill.tokenizer.chat import ChatTemplate, built_in
from midfill.tokenizer.special import STOPS, Finder, Kind
from midfill.tokenizer.vocabulary import Vocabulary, bytes_of, refuse_surrogates


class Tokenizer:
    """Byte-level BPE with the sentinels, stop ids, chat template and FIM tokens of one model."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._plain = vocabulary.plain
        self._added = {token.id: token for token in vocabulary.added}
        self._ids = {token.text: token.id for token in vocabulary.added}
        self._ordinary = Finder(t.text for t in vocabulary.added if t.kind is Kind.ORDINARY)
        self._special = Finder(self._ids.keys() - self._ordinary.texts)
        last = max(self._plain.get_vocab().values(), default=-1)
        self.vocab_size = max(last, *self._added, -1) + 1
        self.rows = max(vocabulary.rows, self.vocab_size)
        self.bos_id = vocabulary.bos
        self.eos_id = vocabulary.eos
        self.pad_id = vocabulary.pad
        self.add_bos = vocabulary.add_bos and vocabulary.bos is not None
        stops = {self.id_of(text) for text in STOPS} | {vocabulary.eos} | vocabulary.stops
        self.stop_ids = frozenset(token for token in stops if token is not None)
        self.chat_template = vocabulary.template or built_in(self._special.texts)
        self.fim = fim.find(self.id_of, vocabulary.fim, add_bos=self.add_bos)

    @classmethod
    def from_folder(cls, path: Path) -> "Tokenizer":
        """The tokenizer of a Hugging Face folder, as transformers 4 or 5 saved it."""
        return cls(folder.read(Path(path)))

    @classmethod
    def from_gguf(cls, metadata: Mapping[str, object]) -> "Tokenizer":
        """The tokenizer in the metadata of a GGUF file."""
        return cls(gguf_keys.read(metadata))

    @property
    def sentinels(self) -> frozenset[str]:
        """Texts that `encode_special` takes for tokens and `encode` does not."""
        return self._special.texts

    @cached_property
    def template(self) -> ChatTemplate:
        """The chat template, compiled; TokenizerError on a base model that has none."""
        if self.chat_template is None:
            raise TokenizerError(
                "this model has no chat template",
                why="it is a base model: it continues text and was not trained to answer",
                fix="use complete or fill, or an instruct model",
            )
        named = {"bos_token": self.bos_id, "eos_token": self.eos_id, "pad_token": self.pad_id}
        texts = {name: self.token_text(i) for name, i in named.items() if i is not None}
        return ChatTemplate(self.chat_template, **texts)

    def pad_to(self, rows: int) -> None:
        """Let ids up to `rows`, the model's vocabulary, decode to nothing instead of failing."""
        self.rows = max(rows, self.vocab_size)

    def encode(self, text: str, *, bos: bool = False) -> list[int]:
        """Ids of plain text; sentinels in it stay text.

        `bos` puts the begin token in front where this model is used with one. Lone surrogates
        raise RequestError. Bytes the vocabulary lacks are dropped (control characters in SmolLM2).
        """
        refuse_surrogates(text)
        ids = [self.bos_id] if bos and self.add_bos and self.bos_id is not None else []
        for piece in self._ordinary.split(text):
            if piece in self._ordinary:
                ids.append(self._ids[piece])
            else:
                ids += self._plain.encode(piece, add_special_tokens=False).ids
        return ids

    def encode_special(self, text: str) -> list[int]:
        """Ids of template output: sentinel texts become their tokens, no bos is added."""
        return self._encode_special(text, noise=())

    def encode_chat(
        self,
        messages: Sequence[Mapping[str, object]],
        tools: Sequence[Mapping[str, object]] | None = None,
        continue_last: bool = False,
    ) -> list[int]:
        """Ids of a conversation up to where the answer begins, with one bos where there is any.

        Nothing in the caller's strings becomes a sentinel; V1 gets a line end behind a system text
        that its template leaves out. With `continue_last`, or `prefix: true` in the last message,
        that message is the assistant's and stays open.
        """
        text, noise = self.template.render_guarded(
            messages, self._special, tools=tools, continue_last=continue_last, end_system=True
        )
        ids = self._encode_special(text, noise)
        if self.bos_id is None or not self.add_bos:
            return ids
        while ids[:1] == [self.bos_id]:
            del ids[0]
        return [self.bos_id, *ids]

    def decode(self, ids: Sequence[int], *, sentinels: bool = False) -> str:
        """Text of ids, without sentinels unless asked; bytes that are no UTF-8 become U+FFFD."""
        return b"".join(self._bytes(i, sentinels) for i in ids).decode("utf-8", errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """The exact bytes one id adds to a text; none for a sentinel or padding."""
        return self._bytes(token, sentinels=False)

    def token_text(self, token: int) -> str:
        """One id for display, sentinels shown."""
        return self._bytes(token, sentinels=True).decode("utf-8", errors="replace")

    def id_of(self, token: str) -> int | None:
        """The id of a vocabulary entry as the file spells it, or None."""
        found = self._ids.get(token)
        return self._plain.token_to_id(token) if found is None else found

    def stream(self, *, sentinels: bool = False) -> "DecodeStream":
        """A decoder that takes ids one by one."""
        return DecodeStream(self, sentinels=sentinels)

    def to_gguf(self, vocab: int) -> dict[str, object]:
        """The `tokenizer.ggml.*` keys for a model of `vocab` rows; TokenizerError if none fit."""
        named = self.fim and (self.fim.prefix, self.fim.suffix, self.fim.middle)
        return gguf_keys.write(self._vocabulary, vocab, named)

    def save(self, path: Path) -> None:
        """Write tokenizer.json and tokenizer_config.json, which transformers opens."""
        folder.write(self._vocabulary, Path(path))

    def _encode_special(self, text: str, noise: Iterable[str]) -> list[int]:
        """As `encode_special`; texts in `noise` are removed once sentinels have been found."""
        refuse_surrogates(text)
        ids: list[int] = []
        for piece in self._special.split(text):
            if piece in self._special:
                ids.append(self._ids[piece])
                continue
            for mark in noise:
                piece = piece.replace(mark, "")
            ids += self.encode(piece)
        return ids

    def _bytes(self, token: int, sentinels: bool) -> bytes:
        added = self._added.get(token)
        if added is not None:
            hidden = added.kind is Kind.SENTINEL and not sentinels
            return b"" if hidden else added.text.encode()
        if not 0 <= token < self.rows:
            raise RequestError(
                f"there is no token {token}",
                why=f"this vocabulary has the ids 0 to {self.rows - 1}",
                fix="send ids that this model's own tokenizer made",
            )
        text = self._plain.id_to_token(token)
        return b"" if text is None else bytes_of(text)


class DecodeStream:
    """Decodes ids one by one into whole characters; all pieces together equal `decode`."""

    def __init__(self, tokenizer: Tokenizer, *, sentinels: bool = False) -> None:
        self._tokenizer = tokenizer
        self._sentinels = sentinels
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        """The characters that this id completes, often one word, sometimes none."""
        return self._decoder.decode(self._tokenizer._bytes(token, self._sentinels))

    def finish(self) -> str:
        """What is left: U+FFFD where the last character never became whole."""
        return self._decoder.decode(b"", final=True)
