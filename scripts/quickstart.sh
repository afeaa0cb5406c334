#!/usr/bin/env bash
# From nothing to a fine-tuned retriever and reranker: sets up, builds, makes a dataset from
# Debian's package descriptions, and runs configs/quickstart.json on it. Run again, it
# continues where it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
# Idle OpenMP threads sleep instead of spinning: where something else uses the machine too,
# spinning costs more than half of the speed.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
scripts/setup.sh

cmake --preset release >/dev/null
cmake --build --preset release --target tandem

scripts/debian_dataset.sh quickstart/dataset
build/tandem data check quickstart/dataset --model .venv/all-MiniLM-L6-v2 --max-length 128
build/tandem run configs/quickstart.json -o quickstart/output

cat <<'EOF'

The models are in quickstart/output/models, their ONNX forms in quickstart/output/onnx. Next, try:
  build/tandem search --model quickstart/output/models/bi-encoder --dataset quickstart/dataset -k 10 -o quickstart/top10.run
  build/tandem eval quickstart/dataset/qrels/test.tsv quickstart/output/runs/zero-shot.test.run quickstart/output/runs/reranked.test.run --compare
  build/tandem run configs/quickstart.json --set dataset=YOUR_BEIR_FOLDER -o mine
EOF
