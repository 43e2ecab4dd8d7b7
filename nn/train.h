/* nn/train: training a model.
 *
 *   steps   what one batch computes, recorded anew each time or traced once
 *   nn_fit  epochs of them: validation, metrics, progress, logs, checkpoints
 *
 *     static void classify(void *net, const ag_var *batch, ag_var *out) {
 *         out[1] = logits_of(net, batch[0]);
 *         out[0] = nn_cross_entropy(out[1], batch[1]);    // the loss comes first
 *     }
 *     nn_step *step = nn_step_new(model, classify, &net, (nn_step_options){.outputs = 2, .traced = true});
 *     for (nn_batch b; nn_loader_next(loader, &b, &e);) {
 *         double loss = nn_step_run(step, b.fields, b.field_count, NN_GRADIENTS);
 *         nn_optimiser_step(adam);
 *     }
 *
 * Errors stick to the model's tape. */
#ifndef NN_TRAIN_H
#define NN_TRAIN_H

#include <nn/data.h>
#include <nn/metrics.h>
#include <nn/optimise.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Records on the model's tape what is computed of a batch: batch[k] is field k, of the tape's type, its samples along the
 * first axis; out[0] becomes the loss, a scalar, the others whatever else is to be known (logits, for metrics). */
typedef void nn_forward(void *context, const ag_var *batch, ag_var *out);

enum { NN_MAX_OUTPUTS_OF_STEP = 8 };

typedef struct nn_step_options {
    int outputs; /* that `forward` gives, the loss included; 0: the loss alone */
    /* Records once for each shape of a batch (and for training or not, and when the model has grown), and runs that as a
     * program from then on: memory is planned, and the parameters are where they are. What `forward` does besides
     * recording it does once, too: branches on values stay as they were (ag_guard makes another way an error). */
    bool traced;
    /* So many programs are kept, 0: 8, each with memory for its batch's intermediate results. Training and validation have
     * one each of a shape, and what has not been used for longest makes room: batches of more shapes than that (lengths of
     * sentences) are recorded again and again, and are better padded to few. */
    int programs;
} nn_step_options;

/* The model must be complete, and outlive the step. NULL after an error. */
typedef struct nn_step nn_step;
NN_API nn_step *nn_step_new(nn_model *model, nn_forward *forward, void *context, nn_step_options options);
NN_API void nn_step_free(nn_step *step);

typedef enum nn_wanted {
    NN_VALUES,        /* outputs alone: for validation. Buffers stay as they are */
    NN_GRADIENTS,     /* and adjoints of the parameters, and the buffers' next values, which wait for nn_model_commit:
                         an optimiser's step. Those that wait already are forgotten */
    NN_MORE_GRADIENTS /* added to those that are there: several small batches for one step. Each has a clock of its own,
                         one later than the last; outside of the runs it stays what it was, until the commit */
} nn_wanted;

/* Runs a batch. Fields of another type are converted to the tape's, which must hold their numbers (labels beyond 2^24 do
 * not fit f32). Returns the loss; NaN after an error, which gives up the whole step: no buffer's next value waits. If the
 * loss or a gradient is not finite, that is no error here: nn_step_find_nan says where it comes from. Everything that was
 * recorded on the tape behind the parameters goes. */
NN_API double nn_step_run(nn_step *step, const nn_array *fields, int count, nn_wanted wanted);
/* An output of the last run, of the tape's type; valid until the next run. Inert if there is none. */
NN_API const nn_array *nn_step_output(const nn_step *step, int k);

/* Records a batch once more and sweeps it, and says in words where a NaN or an infinity is first on the way to the loss, or
 * in the sweep: the operation, its place and operands, or the parameter or "field 0" (ag_find_infinity). False if there is
 * none. */
NN_API bool nn_step_find_nan(nn_step *step, const nn_array *fields, int count, char *text, size_t size);

/* ---- nn_fit ---------------------------------------------------------------------------------------------------- */

enum { NN_MAX_METRICS = 8 };

/* What is known after an epoch. */
typedef struct nn_epoch {
    int64_t epoch;          /* from 1 */
    int64_t steps;          /* of the optimiser, in all */
    double loss;            /* the mean over the epoch's samples, while the model changed */
    double validation_loss; /* NaN without validation */
    double metrics[NN_MAX_METRICS];
    double rate;        /* of the last step */
    double seconds;     /* in all, those before a resumption included */
    bool best;          /* better than any epoch before */
    int64_t since_best; /* epochs */
} nn_epoch;

typedef struct nn_fit_options {
    nn_step *step;
    nn_optimiser *optimiser;
    nn_loader *train, *validation; /* validation may be NULL */
    int64_t epochs;                /* in all */
    /* Limits, 0: none. An epoch that one of them cuts is left as an interrupt leaves it, neither validated nor counted:
     * with a checkpoint, training goes on in its middle when the limit is higher. */
    int64_t steps;      /* ends after so many in all */
    double seconds;     /* ends after so long in all */
    int64_t accumulate; /* batches for a step of the optimiser, of their mean gradient; 0: 1 */
    /* Of the validation, or without one of the training. */
    nn_metric metrics[NN_MAX_METRICS];
    int metric_count;
    nn_average *average; /* updated after each step, and in the model's place in validation and in `best`; or NULL */
    nn_plateau *plateau; /* gets each epoch's validation loss (else loss), sets the rate; or NULL */
    /* An epoch is better if its measure is: metric number measure - 1; 0: the validation loss, else the loss. */
    int measure;
    double least_gain;  /* better by more than this */
    int64_t patience;   /* ends after so many epochs in a row that are no better, of a checkpoint's, too; 0: never */
    FILE *progress;     /* a bar on a terminal, a line an epoch elsewhere; NULL: nothing */
    const char *log;    /* CSV, a row an epoch, those before a resumption included; or NULL */
    const char *curves; /* SVG of the losses, written after each epoch; or NULL */
    /* Written after each epoch, on an interrupt, at a limit, and every `checkpoint_steps` steps if that is not 0. If the
     * file is there when nn_fit starts, training goes on from it, bit for bit as if it had not been interrupted. */
    const char *checkpoint;
    int64_t checkpoint_steps;
    const char *best; /* weights of the best epoch (nn_model_load reads them); or NULL */
    /* Called after each epoch; false ends. */
    bool (*after_epoch)(void *context, const nn_epoch *epoch);
    void *context;
} nn_fit_options;

typedef enum nn_ending {
    NN_ENDED_EPOCHS, /* all epochs are done, or steps, or time is up */
    NN_ENDED_EARLY,  /* no better for too long */
    NN_ENDED_CALLER, /* after_epoch said so */
    NN_INTERRUPTED,  /* SIGINT or SIGTERM, if they would have ended the program */
    NN_FAILED
} nn_ending;

typedef struct nn_fitted {
    nn_ending ending;
    nn_epoch last, best; /* epoch 0 and NaN: there was none */
} nn_fitted;

/* Trains. A loss or a gradient that is not finite is an error (AG_ERR_VALUE) before the model changes, and names the
 * operation where that began; where it is one sample's doing, the message says which row of the data that is. A loss
 * that depends on none of the model's parameters is one, too, at the first step. Errors of the tape become errors
 * here, too. Signals are handled while it runs, and as before when it returns; one call at a time handles them. */
NN_API nn_fitted nn_fit(const nn_fit_options *options, nn_error *e);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
