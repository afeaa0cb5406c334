/* model_card.h - README.md of an exported directory. */
#ifndef TANDEM_CLI_MODEL_CARD_H
#define TANDEM_CLI_MODEL_CARD_H

#include "tandem/memory.h"
#include "tandem/model.h"
#include "tandem/onnx.h"

/* The model card: YAML front matter as model hubs read it, what the model is for, what is known of its training (from
 * config.used.json and metrics.jsonl in the directory that it was loaded from), and how five tools load the directory
 * `name`. What is not known is left out; paths are cut to their last part. A README.md that lies with the model is
 * its owner's: *out gets that, and *own is true. */
int model_card(tandem_buffer *out, bool *own, const tandem_model *model, const char *name,
               const tandem_onnx_options *graphs, size_t count);

#endif
