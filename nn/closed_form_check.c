/* A closed form against the tape, at random inputs: values and derivatives. */
#include "nn/compare.h"
#include "nn/memory.h"
#include "nn/nn.h"
#include "nn/random.h"

#include <inttypes.h>
#include <stdarg.h>

/* One random input, and the derivatives there. Everything is in `numbers`, which this owns. */
typedef struct draw {
    nn_sizes sizes;
    ag_shape shape[NN_MAX_ARGUMENTS];
    int64_t count[NN_MAX_ARGUMENTS]; /* elements of an argument */
    int64_t outputs;                 /* elements of the result */
    ag_var result, argument[NN_MAX_ARGUMENTS];
    double *x[NN_MAX_ARGUMENTS];
    double *closed[NN_MAX_ARGUMENTS];  /* outputs x count; NULL for a constant argument */
    double *tape[NN_MAX_ARGUMENTS];    /* of one output: count */
    double *closed_value, *tape_value; /* outputs each */
    double *inputs, *derivatives;
} draw;

static bool fail(nn_closed_form_report *report, ag_status status, const char *format, ...) AG_FORMAT_(3, 4);
static bool fail(nn_closed_form_report *report, ag_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    report->status = status;
    vsnprintf(report->message, sizeof report->message, format, arguments);
    va_end(arguments);
    return false;
}

static bool is_complete(const nn_closed_form *form, nn_closed_form_report *report) {
    if (form == NULL || form->function == NULL || form->derivative == NULL)
        return fail(report, AG_ERR_VALUE, "closed form without a function or a derivative");
    if (form->argument_count < 1 || form->argument_count > NN_MAX_ARGUMENTS)
        return fail(report, AG_ERR_VALUE, "closed form with %d arguments, not 1 to %d", form->argument_count,
                    NN_MAX_ARGUMENTS);
    bool derives = false;
    for (int a = 0; a < form->argument_count; a++) {
        if (form->arguments[a].shape == NULL)
            return fail(report, AG_ERR_VALUE, "argument %d of a closed form has no shape", a + 1);
        derives = derives || !form->arguments[a].constant;
    }
    return derives || fail(report, AG_ERR_VALUE, "closed form without a derivative: every argument is constant");
}

static int64_t elements(ag_shape shape) {
    int64_t count = 1;
    for (int i = 0; i < shape.rank; i++) count *= shape.dim[i];
    return count;
}

static int64_t length_of(char letter, nn_sizes sizes) {
    return letter == 'm' ? sizes.m : letter == 'n' ? sizes.n : letter == 'k' ? sizes.k : 0;
}

/* The dimension that *shape begins with, which is then behind it: a letter, a digit and a letter, or a digit; 0 for
 * anything else. */
static int64_t next_dimension(const char **shape, nn_sizes sizes) {
    int64_t digit = **shape >= '1' && **shape <= '9' ? *(*shape)++ - '0' : 0, length = length_of(**shape, sizes);
    if (length == 0) return digit;
    ++*shape;
    return digit == 0 ? length : digit * length;
}

static bool draw_shapes(const nn_closed_form *form, nn_random *random, draw *d, nn_closed_form_report *report) {
    d->sizes.m = 1 + nn_random_below(random, NN_MAX_SIZE);
    d->sizes.n = 1 + nn_random_below(random, NN_MAX_SIZE);
    d->sizes.k = 1 + nn_random_below(random, NN_MAX_SIZE);
    for (int a = 0; a < form->argument_count; a++) {
        const char *letters = form->arguments[a].shape;
        ag_shape shape = {0, {0}};
        for (const char *c = letters; *c != '\0';) {
            int64_t size = next_dimension(&c, d->sizes);
            if (size == 0 || shape.rank == 4) /* no more than 45^4 elements */
                return fail(report, AG_ERR_SHAPE,
                            "shape \"%.20s\" of argument %d: not up to four of the letters m, n, k, with or without a "
                            "factor, and digits",
                            letters, a + 1);
            shape.dim[shape.rank++] = size;
        }
        d->shape[a] = shape;
        d->count[a] = elements(shape);
    }
    return true;
}

static void fill(const nn_argument *argument, ag_shape shape, int64_t count, int number, nn_random *random, double *x) {
    static const double deviations[] = {1, 0.1, 10};
    int64_t k = shape.rank > 0 ? shape.dim[shape.rank - 1] : 1;
    switch (argument->distribution) {
    case NN_NORMAL: nn_fill_normal(random, x, count, deviations[number % 3]); break;
    case NN_POSITIVE: nn_fill_positive(random, x, count); break;
    case NN_SIMPLEX: nn_fill_simplex(random, x, count / k, k); break;
    case NN_ONE_HOT: nn_fill_one_hot(random, x, count / k, k); break;
    case NN_BINARY: nn_fill_binary(random, x, count); break;
    case NN_UNIT: nn_fill_unit(random, x, count); break;
    }
}

static bool draw_inputs(const nn_closed_form *form, int number, nn_random *random, draw *d,
                        nn_closed_form_report *report) {
    int64_t total = 0;
    for (int a = 0; a < form->argument_count; a++) total += d->count[a];
    d->inputs = nn_allocate((size_t)total, sizeof(double));
    if (d->inputs == NULL) return fail(report, AG_ERR_MEMORY, "out of memory for %" PRId64 " inputs", total);
    double *next = d->inputs;
    for (int a = 0; a < form->argument_count; a++) {
        fill(&form->arguments[a], d->shape[a], d->count[a], number, random, next);
        d->x[a] = next;
        next += d->count[a];
    }
    return true;
}

static bool record(const nn_closed_form *form, ag_tape *tape, draw *d, nn_closed_form_report *report) {
    ag_tape_clear(tape);
    for (int a = 0; a < form->argument_count; a++) {
        if (d->shape[a].rank == 0)
            d->argument[a] = form->arguments[a].constant ? ag_constant(tape, *d->x[a]) : ag_input(tape, *d->x[a]);
        else
            d->argument[a] = form->arguments[a].constant ? ag_constant_tensor(tape, d->x[a], d->shape[a])
                                                         : ag_tensor(tape, d->x[a], d->shape[a]);
    }
    d->result = form->function(d->argument);
    d->outputs = ag_count(d->result);
    if (ag_tape_status(tape) != AG_OK) return fail(report, ag_tape_status(tape), "%s", ag_tape_message(tape));
    return d->outputs > 0 || fail(report, AG_ERR_SHAPE, "the function of a closed form has no result");
}

/* Memory for values and derivatives, and the closed form's ones. */
static bool derive(const nn_closed_form *form, draw *d, nn_closed_form_report *report) {
    int64_t total = 2 * d->outputs;
    for (int a = 0; a < form->argument_count; a++)
        total += form->arguments[a].constant ? 0 : d->count[a] * (d->outputs + 1);
    d->derivatives = nn_allocate((size_t)total, sizeof(double));
    if (d->derivatives == NULL) return fail(report, AG_ERR_MEMORY, "out of memory for %" PRId64 " derivatives", total);
    d->closed_value = d->derivatives;
    d->tape_value = d->closed_value + d->outputs;
    double *next = d->tape_value + d->outputs;
    for (int a = 0; a < form->argument_count; a++) {
        if (form->arguments[a].constant) continue;
        d->closed[a] = next;
        d->tape[a] = next + d->count[a] * d->outputs;
        next += d->count[a] * (d->outputs + 1);
    }
    if (form->value != NULL) form->value(d->sizes, (const double *const *)d->x, d->closed_value);
    form->derivative(d->sizes, (const double *const *)d->x, (double *const *)d->closed);
    return true;
}

/* One number: the value (argument -1) or a derivative. Returns whether it is wrong. */
static bool compare_one(double closed, double tape, int number, int argument, int64_t output, int64_t input,
                        nn_closed_form_report *report) {
    double error = nn_distance(closed, tape);
    if (report->compared + report->values == 0 || error > report->worst.error) {
        report->worst.error = error;
        report->worst.draw = number;
        report->worst.argument = argument;
        report->worst.output = output;
        report->worst.input = input;
        report->worst.closed = closed;
        report->worst.tape = tape;
    }
    return error > report->tolerance;
}

static void compare_derivatives(draw *d, int number, int a, int64_t output, nn_closed_form_report *report) {
    for (int64_t i = 0; i < d->count[a]; i++) {
        double closed = d->closed[a][output * d->count[a] + i];
        report->wrong += compare_one(closed, d->tape[a][i], number, a, output, i, report);
        report->compared++;
    }
}

static void compare_values(draw *d, int number, nn_closed_form_report *report) {
    ag_read(d->result, d->tape_value);
    for (int64_t i = 0; i < d->outputs; i++) {
        report->wrong_values += compare_one(d->closed_value[i], d->tape_value[i], number, -1, i, 0, report);
        report->values++;
    }
}

/* One sweep for each element of the result. */
static bool compare(const nn_closed_form *form, ag_tape *tape, int number, draw *d, nn_closed_form_report *report) {
    if (form->value != NULL) compare_values(d, number, report);
    for (int64_t output = 0; output < d->outputs; output++) {
        ag_backward(ag_at(d->result, output));
        for (int a = 0; a < form->argument_count; a++)
            if (d->tape[a] != NULL) ag_read_grad(d->argument[a], d->tape[a]);
        if (ag_tape_status(tape) != AG_OK) return fail(report, ag_tape_status(tape), "%s", ag_tape_message(tape));
        for (int a = 0; a < form->argument_count; a++)
            if (d->tape[a] != NULL) compare_derivatives(d, number, a, output, report);
    }
    return true;
}

static bool check_draw(const nn_closed_form *form, ag_tape *tape, int number, nn_random *random,
                       nn_closed_form_report *report) {
    draw d;
    memset(&d, 0, sizeof d);
    bool done = draw_shapes(form, random, &d, report) && draw_inputs(form, number, random, &d, report) &&
                record(form, tape, &d, report) && derive(form, &d, report) && compare(form, tape, number, &d, report);
    nn_release(d.derivatives);
    nn_release(d.inputs);
    return done;
}

bool nn_closed_form_check(const nn_closed_form *form, int draws, uint64_t seed, nn_closed_form_report *report) {
    if (report == NULL) return false;
    memset(report, 0, sizeof *report);
    report->tolerance = NN_TOLERANCE;
    if (!is_complete(form, report)) return false;
    if (draws < 1) return fail(report, AG_ERR_VALUE, "%d draws", draws);
    nn_random random = {seed};
    ag_tape *tape = ag_tape_new(AG_F64);
    bool done = true;
    for (; done && report->draws < draws; report->draws += done)
        done = check_draw(form, tape, report->draws, &random, report);
    ag_tape_free(tape);
    report->holds = done && report->wrong == 0 && report->wrong_values == 0;
    return report->holds;
}

bool nn_closed_form_write(const nn_closed_form *form, const nn_closed_form_report *report, FILE *out) {
    if (form == NULL || report == NULL || out == NULL) return false;
    if (report->status != AG_OK) return fprintf(out, "failed %s: %s\n", form->name, report->message) >= 0;
    int written = fprintf(out, "%-6s %-24s %s  (%d draws, worst error %.1e)\n", report->holds ? "holds" : "WRONG",
                          form->name, form->formula, report->draws, report->worst.error);
    if (written < 0 || report->holds) return written >= 0;
    if (report->worst.argument < 0) written = fprintf(out, "       value of result %" PRId64, report->worst.output + 1);
    else
        written =
            fprintf(out, "       derivative of result %" PRId64 " by element %" PRId64 " of %s",
                    report->worst.output + 1, report->worst.input + 1, form->arguments[report->worst.argument].name);
    if (written < 0) return false;
    return fprintf(out,
                   ", draw %d: %.9g by the closed form, %.9g by the tape (%" PRId64 " values, %" PRId64
                   " derivatives wrong)\n",
                   report->worst.draw + 1, report->worst.closed, report->worst.tape, report->wrong_values,
                   report->wrong) >= 0;
}
