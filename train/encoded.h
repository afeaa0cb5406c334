/* encoded.h - texts that a run reads again and again while its weights change: each list is tokenized once, and encoded
 * once between two steps, whoever asks for it. Lists are known by their texts and the prompt before them, so that two
 * datasets with one corpus share it. */
#ifndef TANDEM_TRAIN_ENCODED_H
#define TANDEM_TRAIN_ENCODED_H

#include <stddef.h>

#include "tandem/dataset.h"
#include "tandem/model.h"
#include "tandem/vectors.h"

typedef struct tandem_encoded tandem_encoded;

int tandem_encoded_new(tandem_encoded **out, tandem_model *model); /* a bi-encoder, borrowed */
void tandem_encoded_free(tandem_encoded *encoded);                 /* NULL is fine */

/* Vectors of a side's texts under the model's prompt in use, in their order; borrowed until tandem_encoded_forget.
 * `title` names the progress line. TANDEM_INTERRUPTED when a signal came. */
int tandem_encoded_vectors(const tandem_vectors **out, tandem_encoded *encoded, const tandem_text *texts, size_t count,
                           tandem_side side, const char *title);
/* Frees all vectors, before the weights change; the token ids stay. */
void tandem_encoded_forget(tandem_encoded *encoded);

#endif
