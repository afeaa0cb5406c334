/* precision.h - what a model's matrix products are computed in. */
#ifndef TANDEM_PRECISION_H
#define TANDEM_PRECISION_H

#ifdef __cplusplus
extern "C" {
#endif

/* float32; factors rounded to bfloat16 and sums in float32; factors rounded to 10 bits of fraction, on a GPU alone; or,
 * on the CPU for a model that only reads texts, factors rounded to 8 bits (activations over the range of a token's, weights
 * over that of an output's) and sums in whole numbers. */
typedef enum { TANDEM_FP32, TANDEM_BF16, TANDEM_AUTO, TANDEM_TF32, TANDEM_INT8 } tandem_precision;

const char *tandem_precision_name(tandem_precision precision); /* "fp32" */

/* TANDEM_AUTO becomes bf16 on a GPU; on the CPU where tandem_machine_has_bf16() and its products are the faster ones, which the first call
 * measures, in some milliseconds, and logs; else fp32. The others stay: bf16 and int8 work on every CPU. It never becomes
 * int8, which changes results more than a default may. */
tandem_precision tandem_precision_settle(tandem_precision asked);

#ifdef __cplusplus
}
#endif
#endif
