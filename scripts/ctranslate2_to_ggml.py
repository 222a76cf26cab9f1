"""Rewrites a Whisper model from CTranslate2's format into the one that whisper.cpp reads.

Only names and order change: every weight is copied bit by bit, small ones widened to 32 bits as whisper.cpp wants
them. Standard library only.
"""

import json
import math
import struct

MAGIC = 0x67676D6C  # "ggml"
FLOAT32, FLOAT16 = 0, 1  # ggml's tensor types
ITEM_BYTES = {0: 4, 1: 1, 2: 2, 3: 4, 4: 2, 5: 2}  # of CTranslate2's data types
CT2_FLOAT32, CT2_FLOAT16 = 0, 4
MEL_BANDS, FFT_SIZE, SAMPLE_RATE = 80, 400, 16_000
HEAD_WIDTH = 64  # of every Whisper model
BASE_TOKENS = 50_257  # of the multilingual vocabulary; whisper.cpp makes the special ones itself


class Tensor:
    """A weight as CTranslate2 stores it."""

    def __init__(self, shape, kind, data):
        self.shape, self.kind, self.data = shape, kind, data

    def rows(self, start, end):
        """Rows of a matrix, or a stretch of a vector."""
        width = len(self.data) // self.shape[0]
        return Tensor((end - start, *self.shape[1:]), self.kind, self.data[start * width : end * width])

    def third(self, n, of=3):
        """One of `of` equal blocks of rows: attention's query, key and value are stored fused."""
        size = self.shape[0] // of
        return self.rows(n * size, (n + 1) * size)

    def as_float32(self):
        if self.kind == CT2_FLOAT32:
            return self.data
        count = len(self.data) // 2
        return struct.pack(f"<{count}f", *struct.unpack(f"<{count}e", self.data))

    def as_float16(self):
        if self.kind == CT2_FLOAT16:
            return self.data
        count = len(self.data) // 4
        return struct.pack(f"<{count}e", *struct.unpack(f"<{count}f", self.data))


def read_ctranslate2(model):
    """The tensors of a `model.bin` (binary version 6), by name."""
    at = 0

    def take(size):
        nonlocal at
        at += size
        if at > len(model):
            raise ValueError("model.bin ends too early")
        return model[at - size : at]

    def number(layout):
        return struct.unpack(layout, take(struct.calcsize(layout)))[0]

    def string():
        return bytes(take(number("<H"))).rstrip(b"\0").decode()

    if (version := number("<I")) != 6:
        raise ValueError(f"model.bin has version {version}; only 6 is known")
    if (spec := string()) != "WhisperSpec":
        raise ValueError(f"model.bin holds a {spec}, not Whisper")
    number("<I")
    tensors = {}
    for _ in range(number("<I")):
        name = string()
        shape = tuple(number("<I") for _ in range(number("<B")))
        kind = number("<B")
        data = take(number("<I"))
        if len(data) != math.prod(shape) * ITEM_BYTES[kind]:
            raise ValueError(f"{name} has {len(data)} bytes for {shape}")
        tensors[name] = Tensor(shape, kind, data)
    return tensors


def whisper_tensors(ct2):
    """(whisper.cpp's name, tensor) of every weight."""

    def pair(theirs, ours, parts=(("weight", "weight"), ("bias", "bias"))):
        for old, new in parts:
            yield f"{ours}.{new}", ct2[f"{theirs}/{old}"]

    def norm(theirs, ours):
        return pair(theirs, ours, (("gamma", "weight"), ("beta", "bias")))

    def fused(theirs, ours, names):
        weight, bias = ct2[f"{theirs}/weight"], ct2[f"{theirs}/bias"]
        for n, name in enumerate(names):
            yield f"{ours}.{name}.weight", weight.third(n, len(names))
            if name != "key":  # Whisper's keys have no bias
                yield f"{ours}.{name}.bias", bias.third(n, len(names))

    def block(theirs, ours, has_cross_attention):
        attention = f"{theirs}/self_attention"
        yield from norm(f"{attention}/layer_norm", f"{ours}.attn_ln")
        yield from fused(f"{attention}/linear_0", f"{ours}.attn", ("query", "key", "value"))
        yield from pair(f"{attention}/linear_1", f"{ours}.attn.out")
        if has_cross_attention:
            attention = f"{theirs}/attention"
            yield from norm(f"{attention}/layer_norm", f"{ours}.cross_attn_ln")
            yield from pair(f"{attention}/linear_0", f"{ours}.cross_attn.query")
            yield from fused(f"{attention}/linear_1", f"{ours}.cross_attn", ("key", "value"))
            yield from pair(f"{attention}/linear_2", f"{ours}.cross_attn.out")
        yield from norm(f"{theirs}/ffn/layer_norm", f"{ours}.mlp_ln")
        yield from pair(f"{theirs}/ffn/linear_0", f"{ours}.mlp.0")
        yield from pair(f"{theirs}/ffn/linear_1", f"{ours}.mlp.2")

    yield "encoder.positional_embedding", ct2["encoder/position_encodings/encodings"]
    yield from pair("encoder/conv1", "encoder.conv1")
    yield from pair("encoder/conv2", "encoder.conv2")
    for n in range(layers(ct2, "encoder")):
        yield from block(f"encoder/layer_{n}", f"encoder.blocks.{n}", has_cross_attention=False)
    yield from norm("encoder/layer_norm", "encoder.ln_post")
    yield "decoder.positional_embedding", ct2["decoder/position_encodings/encodings"]
    yield "decoder.token_embedding.weight", ct2["decoder/embeddings/weight"]
    for n in range(layers(ct2, "decoder")):
        yield from block(f"decoder/layer_{n}", f"decoder.blocks.{n}", has_cross_attention=True)
    yield from norm("decoder/layer_norm", "decoder.ln")


def layers(ct2, side):
    return len({name.split("/")[1] for name in ct2 if name.startswith(f"{side}/layer_") and name.split("/")[1] != "layer_norm"})


def tokens(tokenizer_json):
    """The byte strings of the base vocabulary in order, out of the printable letters that stand for bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letter_to_byte = {chr(byte): byte for byte in printable}
    letter_to_byte.update({chr(256 + n): byte for n, byte in enumerate(others)})
    vocabulary = json.loads(tokenizer_json)["model"]["vocab"]
    by_id = {number: word for word, number in vocabulary.items()}
    return [bytes(letter_to_byte[letter] for letter in by_id[number]) for number in range(BASE_TOKENS)]


def mel_filters():
    """The triangular mel filters of Slaney's Auditory Toolbox, normalised by area, row by row."""

    def to_hertz(mel):
        return 200 * mel / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)

    top = 15 + 27 * math.log(SAMPLE_RATE / 2 / 1000) / math.log(6.4)
    edges = [to_hertz(top * n / (MEL_BANDS + 1)) for n in range(MEL_BANDS + 2)]
    bins = [SAMPLE_RATE * n / FFT_SIZE for n in range(FFT_SIZE // 2 + 1)]
    for low, middle, high in zip(edges, edges[1:], edges[2:]):
        area = 2 / (high - low)
        for hertz in bins:
            rise, fall = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
            yield max(0.0, min(rise, fall)) * area


def write_ggml(out, ct2, tokenizer_json):
    """Writes the whole model to the binary file `out`."""
    vocabulary, width = ct2["decoder/embeddings/weight"].shape
    audio_context, text_context = (ct2[f"{side}/position_encodings/encodings"].shape[0] for side in ("encoder", "decoder"))
    heads = width // HEAD_WIDTH
    audio = (audio_context, width, heads, layers(ct2, "encoder"))
    text = (text_context, width, heads, layers(ct2, "decoder"))
    out.write(struct.pack("<I11i", MAGIC, vocabulary, *audio, *text, MEL_BANDS, FLOAT16))
    filters = list(mel_filters())
    out.write(struct.pack(f"<2i{len(filters)}f", MEL_BANDS, len(filters) // MEL_BANDS, *filters))
    words = tokens(tokenizer_json)
    out.write(struct.pack("<i", len(words)))
    for word in words:
        out.write(struct.pack("<i", len(word)) + word)
    for name, tensor in whisper_tensors(ct2):
        write_tensor(out, name, tensor)


def write_tensor(out, name, tensor):
    shape = tensor.shape
    if name in ("encoder.conv1.bias", "encoder.conv2.bias"):
        shape = (*shape, 1)
    is_small = len(tensor.shape) < 2 or name.endswith("positional_embedding")
    kind, data = (FLOAT32, tensor.as_float32()) if is_small else (FLOAT16, tensor.as_float16())
    label = name.encode()
    out.write(struct.pack("<3i", len(shape), len(label), kind))
    out.write(struct.pack(f"<{len(shape)}i", *reversed(shape)) + label)
    out.write(data)
