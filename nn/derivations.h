/* nn/derivations: is a derivative that somebody derived by hand right, and if not, what is wrong with it?
 *
 *   backward functions  your own C against the tape or central differences, and what is wrong with it
 *   closed forms        a catalogue of derivatives derived by hand, and the check of each */
#ifndef NN_DERIVATIONS_H
#define NN_DERIVATIONS_H

#include <nn/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- random inputs of the checks below */

/* What random numbers are drawn from. */
typedef enum nn_distribution {
    NN_NORMAL,   /* normal with mean 0; standard deviation 1; in the check of a closed form 1, 0.1 or 10 in turn */
    NN_POSITIVE, /* 0.1 + |standard normal| */
    NN_SIMPLEX,  /* positive, with sum 1 along the last axis: probabilities */
    NN_ONE_HOT,  /* a single 1 along the last axis, 0 elsewhere: classes */
    NN_BINARY,   /* 0 or 1 */
    NN_UNIT      /* uniform in 0.05 .. 0.95 */
} nn_distribution;

/* ---- backward functions written by hand --------------------------------------------------------------------------
 *
 * Is a backward function in plain C the derivative of its forward function? And if it is not, what is wrong with it?
 *
 *     const nn_backward check = {
 *         .name = "layer_norm", .type = AG_F64,
 *         .input_count = 2, .inputs = (const nn_backward_input[]){{"x", {1, {8}}}, {"gamma", {1, {8}}}},
 *         .output_count = 1, .outputs = (const nn_backward_output[]){{"y", {1, {8}}}},
 *         .forward = forward, .backward = backward,
 *     };
 *     nn_backward_report report;
 *     nn_check_backward(&check, 10, 1, &report);
 *     nn_backward_write(&report, stdout); */

enum { NN_MAX_INPUTS = 16, NN_MAX_OUTPUTS = 8 };

typedef struct nn_backward_input {
    const char *name;
    ag_shape shape; /* no dimension below 1 */
    bool constant;  /* labels, masks, sizes: there is no gradient by it */
    /* Its values at the first draw, of the check's type; at later draws they are these times 1 + 0.2 z with z normal,
     * or these as they are for a constant. NULL: drawn from the distribution each time. */
    const void *data;
    nn_distribution distribution;
} nn_backward_input;

typedef struct nn_backward_output {
    const char *name;
    ag_shape shape;
} nn_backward_output;

/* A forward and a backward function, and what they work on. Arrays are row-major, of doubles or floats as `type` says;
 * no function may write beyond an array's end or into its inputs. */
typedef struct nn_backward {
    const char *name;
    ag_type type;
    int input_count, output_count;
    const nn_backward_input *inputs;
    const nn_backward_output *outputs;
    /* Computes the outputs. They are 0 when it is called. The same inputs must give the same outputs. */
    void (*forward)(void *context, const void *const *inputs, void *const *outputs);
    /* Computes the gradient by each input that is not constant (NULL for a constant one) of the sum of all outputs
     * times their output gradients. They are 0 when it is called. The last call of `forward` was at the same inputs, so
     * what it left in the context may be used. */
    void (*backward)(void *context, const void *const *inputs, const void *const *output_gradients,
                     void *const *input_gradients);
    /* Optional: records the same function on a tape. Then its derivative is the right one, and its values are compared
     * with those of `forward`. Without it the right derivative is found by central differences of `forward`. */
    void (*record)(void *context, ag_tape *tape, const ag_var *inputs, ag_var *outputs);
    void *context;
    /* Every output gradient is 1 instead of random: for backward functions of losses that do not take any. */
    bool unit_gradients;
    /* 0, or the greatest difference that is allowed, as a part of max(1, |right|), instead of the defaults:
     * with `record`: 1e-9 of max(1, |right|) for doubles, 1e-4 of max(0.01, the greatest |right| of the array) for
     * floats; without: 1e-7 of that (floats: 1e-4) and ten times the estimated error of the differences. */
    double tolerance;
} nn_backward;

enum { NN_TEXT = 256 };

/* One array that was compared: the gradient by an input, or the value of an output. */
typedef struct nn_backward_finding {
    const char *name;        /* the input's or the output's own text */
    bool checked;            /* false for a constant input, and for outputs if there is nothing to compare with */
    bool holds;              /* every entry is right, at every draw */
    int64_t compared, wrong; /* entries, in all draws */
    int64_t kinks; /* entries at a kink of `forward` (relu at 0), where all that lies between the derivatives of
                                the two sides is right */
    /* the worst entry, in terms of what is allowed there: */
    double error, allowed; /* |claimed - right| */
    int draw;
    int64_t entry; /* row-major */
    double claimed, right;
    /* If it does not hold: the kind of mistake, as adcheck calls it ("sign", "transpose", "factor", "missing-factor",
     * "unknown", ...), a sentence on it, and both arrays at the worst draw. Else "". */
    char kind[24], detail[320];
    char claimed_text[NN_TEXT], right_text[NN_TEXT];
} nn_backward_finding;

typedef struct nn_backward_report {
    bool holds;       /* everything that was compared is right */
    ag_status status; /* AG_OK unless the check could not be done; then `message` says why */
    char message[256];
    const char *name;
    bool by_tape; /* what was right is from the tape, not from central differences */
    int draws;
    int input_count, output_count;
    nn_backward_finding inputs[NN_MAX_INPUTS]; /* gradients by the inputs */
    nn_backward_finding outputs[NN_MAX_OUTPUTS];
} nn_backward_report;

/* Compares a backward function with the tape or with central differences, at `draws` inputs with two random output
 * gradients each. The same seed gives the same inputs. Central differences call `forward` up to some 50 times for each
 * number that has a gradient, a draw. Returns report->holds. Errors (report->status): AG_ERR_VALUE for an incomplete
 * description, draws < 1, a function that writes where it must not or is none (different outputs for the same inputs);
 * AG_ERR_SHAPE for impossible shapes and for a recorded result of another shape; AG_ERR_MEMORY; and what the recorded
 * function runs into. */
NN_API bool nn_check_backward(const nn_backward *backward, int draws, uint64_t seed, nn_backward_report *report);

/* Writes the report: a line an array, and for a wrong one the diagnosis, then claimed and right. Returns false if
 * writing failed. */
NN_API bool nn_backward_write(const nn_backward_report *report, FILE *out);

/* ---- closed forms: derivatives derived by hand ----------------------------------------------------------------- */

enum { NN_MAX_ARGUMENTS = 8, NN_MAX_SIZE = 5 };

/* The lengths that the letters in an argument's shape stand for: 1 to NN_MAX_SIZE, drawn anew each time. */
typedef struct nn_sizes {
    int64_t m, n, k;
} nn_sizes;

typedef struct nn_argument {
    const char *name;
    /* A letter of nn_sizes for each dimension: "" a scalar, "n" a vector, "mn" an m x n matrix. A digit before a letter
     * is a factor, any other one a length: "k232m" is k x 2 x 3 x 2m. */
    const char *shape;
    nn_distribution distribution;
    bool constant; /* the closed form says nothing about the derivative by this argument */
} nn_argument;

/* A function and its derivatives as somebody derived them. The catalogue is an array of these; users may add theirs. */
typedef struct nn_closed_form {
    const char *name;
    const char *formula; /* what is claimed, as text */
    const char *source;  /* where the formula can be found */
    int argument_count;
    nn_argument arguments[NN_MAX_ARGUMENTS];
    /* Records the function of its arguments. */
    ag_var (*function)(const ag_var *x);
    /* Writes the result, row-major, without a tape. It is 0 when this is called. NULL: only derivatives are checked. */
    void (*value)(nn_sizes sizes, const double *const *x, double *y);
    /* Writes the derivatives of the result by each argument that is not constant, without a tape: d[a] has the result's
     * shape followed by the argument's, row-major, and is 0 when this is called; NULL for a constant argument. */
    void (*derivative)(nn_sizes sizes, const double *const *x, double *const *d);
} nn_closed_form;

/* What nn_closed_form_check found. An error is |closed form - tape| / max(1, |tape|), and infinite if either is NaN. */
typedef struct nn_closed_form_report {
    bool holds;       /* every error is at most `tolerance` */
    ag_status status; /* AG_OK unless the check could not be done; then `message` says why */
    char message[256];
    int draws;                    /* random inputs that were tried */
    int64_t compared, wrong;      /* derivatives that were compared, and how many of them were over the tolerance */
    int64_t values, wrong_values; /* the same of values */
    double tolerance;
    struct { /* the greatest error: */
        double error;
        int draw;
        int argument;          /* the derivative by this argument, or -1: the value */
        int64_t output, input; /* of this element of the result by this element of the argument, row-major: */
        double closed, tape;   /* by the closed form, and by the tape */
    } worst;
} nn_closed_form_report;

/* The catalogue: activations, softmax, losses by logits, weights and biases, penalties, layers. */
NN_API const nn_closed_form *nn_closed_forms(int *count);
/* The entry of a name, or NULL. */
NN_API const nn_closed_form *nn_closed_form_find(const char *name);

/* Compares a closed form with the tape's values and reverse sweep at `draws` random inputs of random sizes. The same
 * seed gives the same inputs. Returns report->holds. Errors (report->status): AG_ERR_VALUE for an incomplete form or
 * draws < 1, AG_ERR_SHAPE for an unknown letter in a shape, AG_ERR_MEMORY, and whatever the recorded function runs
 * into. */
NN_API bool nn_closed_form_check(const nn_closed_form *form, int draws, uint64_t seed, nn_closed_form_report *report);

/* Writes the report in a line or two. Returns false if writing failed. */
NN_API bool nn_closed_form_write(const nn_closed_form *form, const nn_closed_form_report *report, FILE *out);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
