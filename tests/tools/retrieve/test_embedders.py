"""Embedders: alike things are near, and models run from checkpoints made here."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medgym.errors import UserError
from medgym.tools.retrieve.embedders.blocks import Blocks
from medgym.tools.retrieve.embedders.characters import Characters
from medgym.tools.retrieve.embedders.named import EMBEDDERS, embedder_of, state_of
from medgym.tools.retrieve.index.build import build_index
from medgym.tools.retrieve.index.search import Query, open_index
from medgym.tools.retrieve.readers.corpora import corpora_of
from tests.tools.retrieve.conftest import pattern


def test_texts_that_share_parts_of_words_are_near() -> None:
    texts = [
        "a pneumothorax is air in the pleural space", "a fracture is a break of a bone",
        "an effusion is fluid in the pleural space", "a nodule is round and small",
        "the heart is enlarged", "a mass is larger than a nodule",
    ]  # fmt: skip
    made = Characters()
    made.fit(texts)
    vectors = made.embed_texts(texts)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for query, wanted in (("pneumotorax", 0), ("fractured bones", 1), ("nodular", 3)):
        near = vectors @ made.embed_texts([query])[0]
        assert wanted == near.argmax() or near[wanted] > 0.9 * near.max()
    assert not made.embed_texts([""]).any()
    assert np.array_equal(made.embed_texts(texts)[2], made.embed_texts(texts[2:3])[0])


def test_an_image_is_near_what_was_made_of_it() -> None:
    images = [pattern(n) for n in range(8)]
    vectors = Blocks().embed_images(images)
    assert vectors.shape == (8, Blocks().dims)
    shifted = Image.fromarray(np.roll(np.asarray(images[3]), 5, axis=0))
    darker = images[4].point(lambda value: int(0.6 * value + 20))
    small = images[5].resize((40, 40)).convert("L")
    for changed, wanted in ((shifted, 3), (darker, 4), (small, 5)):
        assert (vectors @ Blocks().embed_images([changed])[0]).argmax() == wanted
    for odd in (Image.new("L", (1, 1)), Image.new("RGB", (3, 900), "red")):
        assert np.isfinite(Blocks().embed_images([odd])).all()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised CLIP of a few thousand weights."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("models") / "clip"
    known = {word: n for n, word in enumerate(("[PAD]", "[UNK]", "nodule", "air", "[END]"))}
    words = tokenizers.models.WordLevel(known, "[UNK]")
    plain = tokenizers.Tokenizer(words)
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    plain.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A [END]", special_tokens=[("[END]", 4)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]", eos_token="[END]",
        model_max_length=1000,
    )  # fmt: skip
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    text = {**size, "vocab_size": 5, "num_attention_heads": 2, "max_position_embeddings": 12,
            "eos_token_id": 4, "bos_token_id": 0, "pad_token_id": 0}  # fmt: skip
    vision = {**size, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    transformers.CLIPModel(config).save_pretrained(folder)
    images = transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
    )
    transformers.CLIPProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A randomly initialised DINOv2 of a few thousand weights."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("models") / "dino"
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    transformers.Dinov2Model(config).save_pretrained(folder)
    transformers.BitImageProcessor(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    ).save_pretrained(folder)
    return folder


def test_models_from_a_folder_embed_alone_as_in_a_batch(clip: Path, dino: Path) -> None:
    images = [pattern(n) for n in range(3)] + [Image.new("L", (1, 1)), Image.new("RGB", (9, 900))]
    for spec in (f"clip:{clip}", f"dino:{dino}"):
        made = embedder_of(spec)
        batch = made.embed_images(images)
        assert batch.shape == (5, made.dims)
        assert np.allclose(np.linalg.norm(batch, axis=1), 1, atol=1e-5)
        for image, vector in zip(images, batch, strict=True):
            assert np.allclose(made.embed_images([image])[0], vector, atol=1e-5)
    texts = ["nodule", "air " * 500, ""]
    batch = embedder_of(f"clip:{clip}").embed_texts(texts)
    assert np.isfinite(batch).all()
    assert np.allclose(embedder_of(f"clip:{clip}").embed_texts(texts[:1]), batch[:1], atol=1e-5)


def test_an_index_by_models_finds_images_by_images_and_both_by_words(
    clip: Path, dino: Path, ward: Path
) -> None:
    names, out = [str(ward / "cases.jsonl"), str(ward / "p.jsonl")], ward / "models"
    build_index(corpora_of(names), out, [f"clip:{clip}", f"dino:{dino}"])
    index = open_index(out)
    found = index.find(Query(image=pattern(2)), 3, lambda _: True)
    assert found[0].document.id == "ward/train/p2"
    signals = [r.signal for r in index.rankings(Query("nodule"), [0], 10)]
    assert signals == ["words", "clip 0 texts", "clip 0 images"]  # text to both
    (dino / "config.json").write_text((dino / "config.json").read_text() + "\n")
    changed = open_index.__globals__["SearchIndex"](out)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="built by another version of the embedder"):
        changed.find(Query(image=pattern(2)), 3, lambda _: True)


def test_sentence_models_run_where_the_library_is(tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    transformers = pytest.importorskip("transformers")
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nnodule\nair")
    tokenizer = transformers.BertTokenizerFast(vocab_file=str(tmp_path / "vocab.txt"))
    config = transformers.BertConfig(
        vocab_size=7, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=8, max_position_embeddings=32,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    library.SentenceTransformer(str(tmp_path / "bert")).save(str(tmp_path / "model"))
    made = embedder_of(f"sentence-transformers:{tmp_path / 'model'}")
    assert made.embed_texts(["nodule", "air"]).shape == (2, made.dims)


def test_what_is_no_embedder_is_named(dino: Path, tmp_path: Path) -> None:
    for spec, said in (
        ("characters:x", "has no model"),
        ("dino", "write dino:DIR"),
        ("dino:nowhere", "no such model folder"),
        ("word2vec", "unknown embedder"),
    ):
        with pytest.raises(UserError, match=said):
            embedder_of(spec)
    with pytest.raises(UserError, match="cannot load the model"):
        embedder_of(f"dino:{tmp_path}").embed_images([pattern(0)])
    with pytest.raises(UserError, match=r"has no features of texts|cannot load the model"):
        embedder_of(f"clip:{dino}").embed_images([pattern(0)])
    assert state_of("blocks") == ""
    assert {"clip", "dino", "sentence-transformers", "characters", "blocks"} == set(EMBEDDERS)
