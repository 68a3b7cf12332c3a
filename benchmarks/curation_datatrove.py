"""The other side of `curation.py`: datatrove with the same rules. Runs in an environment of its own.

python curation_datatrove.py run CORPUS_FOLDER WORK_FOLDER WORKERS     the pipeline, as its examples write it
python curation_datatrove.py explain CORPUS_FILE IDS_JSON              why it drops documents, one by one
python curation_datatrove.py nearest CORPUS_FILE IDS_JSON              the most similar other document of each
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.filters import C4QualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
from datatrove.utils.text import TextNormConfig, ngrams, simplify_text
from datatrove.utils.word_tokenizers import load_word_tokenizer

FILTERS = [
    ("gopher_repetition", GopherRepetitionFilter()),
    ("gopher_quality", GopherQualityFilter()),
    ("c4", C4QualityFilter()),
]


def run(corpus: Path, work: Path, workers: int) -> None:
    """Filters and signatures, buckets, clusters, and the filter that leaves one of each cluster."""
    clean, signatures, buckets, remove, kept = (
        str(work / name) for name in ("clean", "signatures", "buckets", "remove", "kept")
    )
    filters = [each for _, each in FILTERS]
    stages = [
        (workers, [JsonlReader(str(corpus)), *filters, JsonlWriter(clean, compression=None)]),
        (workers, [JsonlReader(clean), MinhashDedupSignature(signatures)]),
        (14, [MinhashDedupBuckets(signatures, buckets)]),
        (1, [MinhashDedupCluster(buckets, remove)]),
        (workers, [JsonlReader(clean), MinhashDedupFilter(remove), JsonlWriter(kept, compression=None)]),
    ]
    for number, (tasks, pipeline) in enumerate(stages):
        logs = str(work / f"logs-{number}")
        LocalPipelineExecutor(
            pipeline, tasks=tasks, workers=min(tasks, workers), logging_dir=logs, start_method="fork"
        ).run()


def explain(corpus: Path, wanted: list[str]) -> dict[str, str]:
    """The reason of the first filter that drops a document, "" where none does."""
    return {number: _reason(text, FILTERS) for number, text in _texts(corpus, set(wanted)).items()}


def _reason(text: str, filters: list[tuple[str, object]]) -> str:
    document = Document(text=text, id="")
    for name, each in filters:
        verdict = each.filter(document)
        if verdict is not True:
            return f"{name}.{verdict[1]}"
    return ""


def nearest(corpus: Path, wanted: list[str]) -> dict[str, tuple[str, float]]:
    """For each text that other text whose 5-word shingles after the filters have the highest Jaccard similarity."""
    texts = _texts(corpus, None)
    asked = {number: _shingles(texts[number]) for number in wanted}
    holders: dict[tuple[str, ...], list[str]] = {}
    for number, shingles in asked.items():
        for shingle in shingles:
            holders.setdefault(shingle, []).append(number)
    best = dict.fromkeys(wanted, ("", 0.0))
    for other, text in texts.items():
        if _reason(text, FILTERS):
            continue
        shingles = _shingles(text)
        shared = Counter(number for shingle in shingles for number in holders.get(shingle, ()))
        for number, count in shared.items():
            similarity = count / (len(shingles) + len(asked[number]) - count)
            if number != other and similarity > best[number][1]:
                best[number] = (other, similarity)
    return best


def _shingles(text: str) -> set[tuple[str, ...]]:
    document = Document(text=text, id="")
    C4QualityFilter().filter(document)
    words = load_word_tokenizer("eng").word_tokenize(simplify_text(document.text, TextNormConfig()))
    return set(ngrams(words, 5))


def _texts(corpus: Path, wanted: set[str] | None) -> dict[str, str]:
    with corpus.open() as file:
        rows = (json.loads(line) for line in file)
        return {row["id"]: row["text"] for row in rows if wanted is None or row["id"] in wanted}


if __name__ == "__main__":
    verb, corpus, third = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    if verb == "run":
        run(corpus, Path(third), int(sys.argv[4]))
    else:
        asked = json.loads(Path(third).read_text())
        print(json.dumps(explain(corpus, asked) if verb == "explain" else nearest(corpus, asked)))
