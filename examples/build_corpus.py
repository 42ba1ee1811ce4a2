"""Build a small corpus from the six sample photos, then look into it.

    python examples/build_corpus.py

Run it again: shards that exist already are kept. For your own photos, replace "samples" by their folder.
"""

import argparse

import iptdata


def main() -> None:
    parser = argparse.ArgumentParser(description="Build a small corpus from the sample photos, then look into it.")
    parser.add_argument("--out", default="demo/build_corpus", help="folder of the corpus")
    arguments = parser.parse_args()

    result = iptdata.build(
        "samples",
        arguments.out,
        ["noise30", "rain"],
        patches_per_image=64,
        holdout=0.2,  # of the photos, into the split `val`
        workers=0,  # build in this process; by default Ray starts a worker per CPU, which takes some seconds
    )
    print(f"wrote {result.pairs} pairs in {result.seconds:.1f} s; the corpus holds")
    for split in result.splits:
        print(f"  {split.task}/{split.split}: {split.pairs} pairs of {split.images} photos, PSNR {split.psnr:.2f} dB")

    corpus = iptdata.Corpus(arguments.out)
    print(corpus)  # a notebook shows a table and a few pairs instead

    pair = corpus.pairs(n=1, sort="psnr")[0]
    print(f"the most corrupted pair of {pair.title}: {pair.key}, PSNR {pair.psnr:.2f} dB, {pair.params}")
    print(f"  clean {pair.clean.shape} {pair.clean.dtype}, corrupted {pair.corrupted.shape} {pair.corrupted.dtype}")
    print(f"  from {pair.facts['source']}, {pair.facts['top']} pixels from the top, {pair.facts['left']} from the left")


if __name__ == "__main__":
    main()
