/* What the parts of training share. */
#ifndef NN_TRAIN_IMPL_H
#define NN_TRAIN_IMPL_H

#include "nn/data/data_impl.h"
#include "nn/train.h"

nn_model *nn_step_model(const nn_step *step);
int nn_step_output_count(const nn_step *step);
/* Sample n of a field, as a batch of one. */
nn_array nn_sample_of(const nn_array *field, int64_t n);
/* Which of `samples` samples, each run alone, has an error of this status, or a loss or gradient that is not finite (AG_OK);
 * -1 if none has, or all have, or they fail otherwise, in training and in evaluation. The tape's error goes. */
int64_t nn_step_find_sample(nn_step *step, const nn_array *fields, int count, int64_t samples, ag_status status);

/* ---- signals (signals.c): SIGINT and SIGTERM become a question, where they would have ended the program */
void nn_signals_catch(void);
bool nn_signals_came(void);
void nn_signals_release(void); /* as they were before */

/* ---- what a meter has summed (metrics.c), as numbers for a checkpoint */
typedef struct nn_numbers {
    double *x;
    int64_t count, room;
} nn_numbers;
void nn_meter_keep(const nn_meter *meter, nn_numbers *to, nn_error *e);
/* Takes up what nn_meter_keep wrote for this meter at the start of `x`, or leaves that alone if it is another metric's.
 * Returns how many numbers that was; `count` and an error if they are not of nn_meter_keep. */
int64_t nn_meter_take_up(nn_meter *meter, const double *x, int64_t count, nn_error *e);

/* ---- the course of training */

/* All epochs so far. */
typedef struct nn_history {
    nn_epoch *epochs;
    int64_t count, room;
} nn_history;

/* A CSV file of it (log.c), in the old one's place. */
void nn_history_write(const nn_history *history, const nn_fit_options *options, const char *path, nn_error *e);

/* Its losses as curves, an SVG (log.c). */
void nn_history_draw(const nn_history *history, const char *path, nn_error *e);

/* What a terminal shows (progress.c). */
typedef struct nn_progress {
    FILE *out; /* NULL: nothing */
    bool terminal;
    int64_t epoch, epochs;
    int64_t batches, of; /* of this epoch: done, in all */
    double samples;      /* done since `begun` */
    double begun, shown; /* seconds */
} nn_progress;
double nn_seconds(void); /* of a clock that only goes forward */
void nn_progress_begin(nn_progress *p, int64_t epoch, int64_t batches, int64_t of);
/* One more batch is done; `loss` is the mean so far. */
void nn_progress_more(nn_progress *p, int64_t samples, double loss);
void nn_progress_end(nn_progress *p, const nn_epoch *epoch, const nn_fit_options *options);

#endif
