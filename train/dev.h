/* dev.h - evaluation on the development split while training. */
#ifndef TANDEM_TRAIN_DEV_H
#define TANDEM_TRAIN_DEV_H

#include <stdbool.h>

#include "tandem/error.h"
#include "tandem/model.h"
#include "tandem/train.h"
#include "train/encoded.h"

typedef struct tandem_dev tandem_dev;

/* Opens dev.dataset, dev.split and, for a cross-encoder, dev.run. Model and `encoded`, which is a bi-encoder's, are
 * borrowed. */
int tandem_dev_new(tandem_dev **out, const tandem_train_config *config, tandem_model *model, tandem_encoded *encoded);
void tandem_dev_free(tandem_dev *dev); /* NULL is fine */

const char *tandem_dev_metric(const tandem_dev *dev); /* its canonical name; borrowed */

/* The metric's mean over all judged queries, with the weights as they are: of a dense
 * search of the corpus, or of the run's top 50 reranked (with the offset added that
 * training added). TANDEM_INTERRUPTED when a signal came. */
int tandem_dev_evaluate(double *out, tandem_dev *dev);

#endif
