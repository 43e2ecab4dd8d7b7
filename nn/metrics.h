/* nn/metrics: how good predictions are, over all batches of an epoch.
 *
 *     nn_meter *accuracy = nn_meter_new((nn_metric){.kind = NN_ACCURACY}, &e);
 *     for (...) nn_meter_add(accuracy, nn_step_output(step, 1), &batch.fields[1], &e);
 *     printf("%.4f\n", nn_meter_value(accuracy)); */
#ifndef NN_METRICS_H
#define NN_METRICS_H

#include <nn/data.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Classes: predictions (..., classes), as logits or probabilities, with labels (...) that are whole numbers, of which
 * negative ones are left out; or for two classes predictions of the labels' shape, logits, of which positive ones say
 * class 1. Of equal logits the first counts. Numbers: predictions and targets of the same count.
 * X(NAME, name, greater is better) */
#define NN_METRICS(X)                                                                                                  \
    X(ACCURACY, accuracy, true) /* of labels that are predicted */                                                     \
    X(TOP_K, top_k, true)       /* of labels that are among the k greatest logits */                                   \
    X(F1, f1, true) /* 2 p r / (p + r): for two classes that of class 1, else the mean over those that occur */        \
    X(PRECISION, precision, true) /* likewise */                                                                       \
    X(RECALL, recall, true)       /* likewise */                                                                       \
    X(AUC, auc, true)             /* area below the ROC curve of two classes, ties count half: Mann, Whitney, 1947 */  \
    X(PERPLEXITY, perplexity, false) /* exp(mean of -log softmax(logits)[label]) */                                    \
    X(MSE, mse, false)                                                                                                 \
    X(MAE, mae, false)                                                                                                 \
    X(R2, r2, true) /* 1 - sum of squared errors / sum of squares of targets less their mean */
typedef enum nn_metric_kind {
#define NN_X_(NAME, name, greater) NN_##NAME,
    NN_METRICS(NN_X_)
#undef NN_X_
        NN_METRIC_KINDS
} nn_metric_kind;
NN_API const char *nn_metric_name(nn_metric_kind kind); /* NULL for an unknown one */
NN_API bool nn_metric_is_better_greater(nn_metric_kind kind);

typedef struct nn_metric {
    nn_metric_kind kind;
    int k;      /* NN_TOP_K; 0: 5 */
    int output; /* of a step: the predictions; 0: output 1 */
    int field;  /* of a batch: the targets; 0: field 1 */
} nn_metric;

typedef struct nn_meter nn_meter;
/* NULL after an error. AUC keeps all scores, 9 bytes each. */
NN_API nn_meter *nn_meter_new(nn_metric metric, nn_error *e);
NN_API void nn_meter_free(nn_meter *meter);
NN_API void nn_meter_reset(nn_meter *meter);
/* Errors: AG_ERR_SHAPE; AG_ERR_VALUE for a label that is no class, with its place; AG_ERR_MEMORY. */
NN_API void nn_meter_add(nn_meter *meter, const nn_array *predictions, const nn_array *targets, nn_error *e);
/* NaN where there is nothing to tell (no samples; AUC of one class). */
NN_API double nn_meter_value(const nn_meter *meter);
/* How often label i was predicted as j, at [i * classes + j]; of accuracy, F1, precision and recall, else NULL. */
NN_API const int64_t *nn_meter_confusion(const nn_meter *meter, int64_t *classes);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
