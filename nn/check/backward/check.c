/* nn_check_backward: a user's backward function against the tape or against central differences. */
#include "nn/check/backward/backward_impl.h"
#include "nn/memory.h"

#include <inttypes.h>
#include <stdarg.h>

bool nn_backward_fail(nn_backward_check *c, ag_status status, const char *format, ...) {
    va_list arguments;
    if (c->report->status != AG_OK) return false;
    va_start(arguments, format);
    c->report->status = status;
    vsnprintf(c->report->message, sizeof c->report->message, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- the description ------------------------------------------------------------------------------------------- */

enum { MAX_DRAWS = 1000000 };
static const int64_t max_entries = INT64_C(1) << 31;

/* The number of entries of a named array, or 0 after an error. */
static int64_t checked_count(nn_backward_check *c, const char *what, int number, const char *name, ag_shape shape) {
    int64_t count = 1;
    if (name == NULL) {
        nn_backward_fail(c, AG_ERR_VALUE, "%s %d has no name", what, number + 1);
        return 0;
    }
    if (shape.rank < 0 || shape.rank > AG_MAX_RANK) {
        nn_backward_fail(c, AG_ERR_SHAPE, "%s %.80s has rank %d, not 0 to %d", what, name, shape.rank, AG_MAX_RANK);
        return 0;
    }
    for (int k = 0; k < shape.rank; k++) {
        if (shape.dim[k] < 1 || shape.dim[k] > max_entries / count) {
            nn_backward_fail(c, AG_ERR_SHAPE, "%s %.80s: dimension %d is %" PRId64 "%s", what, name, k + 1,
                             shape.dim[k], shape.dim[k] < 1 ? ", not at least 1" : ", which makes it too large");
            return 0;
        }
        count *= shape.dim[k];
    }
    return count;
}

static bool counts_fit(nn_backward_check *c) {
    const nn_backward *b = c->b;
    bool derives = false;
    for (int i = 0; i < b->input_count; i++) {
        c->in_count[i] = checked_count(c, "input", i, b->inputs[i].name, b->inputs[i].shape);
        if (c->in_count[i] == 0) return false;
        if ((unsigned)b->inputs[i].distribution > NN_UNIT)
            return nn_backward_fail(c, AG_ERR_VALUE, "input %.80s: there is no distribution %d", b->inputs[i].name,
                                    (int)b->inputs[i].distribution);
        c->in_total += c->in_count[i];
        derives = derives || !b->inputs[i].constant;
    }
    for (int o = 0; o < b->output_count; o++) {
        c->out_count[o] = checked_count(c, "output", o, b->outputs[o].name, b->outputs[o].shape);
        if (c->out_count[o] == 0) return false;
        c->out_total += c->out_count[o];
    }
    return derives || nn_backward_fail(c, AG_ERR_VALUE, "every input is constant: there is no gradient to check");
}

static bool is_complete(nn_backward_check *c) {
    const nn_backward *b = c->b;
    if (b == NULL) return nn_backward_fail(c, AG_ERR_VALUE, "no backward function to check: the description is NULL");
    if (b->forward == NULL || b->backward == NULL)
        return nn_backward_fail(c, AG_ERR_VALUE, "there is no %s function",
                                b->forward == NULL ? "forward" : "backward");
    if (b->type != AG_F64 && b->type != AG_F32)
        return nn_backward_fail(c, AG_ERR_VALUE, "type %d is neither AG_F64 nor AG_F32", (int)b->type);
    if (b->input_count < 1 || b->input_count > NN_MAX_INPUTS || b->inputs == NULL)
        return nn_backward_fail(c, AG_ERR_VALUE, "%d inputs, not 1 to %d", b->inputs == NULL ? 0 : b->input_count,
                                NN_MAX_INPUTS);
    if (b->output_count < 1 || b->output_count > NN_MAX_OUTPUTS || b->outputs == NULL)
        return nn_backward_fail(c, AG_ERR_VALUE, "%d outputs, not 1 to %d", b->outputs == NULL ? 0 : b->output_count,
                                NN_MAX_OUTPUTS);
    if (c->draws < 1 || c->draws > MAX_DRAWS)
        return nn_backward_fail(c, AG_ERR_VALUE, "%d draws, not 1 to %d", c->draws, MAX_DRAWS);
    if (!(b->tolerance >= 0)) return nn_backward_fail(c, AG_ERR_VALUE, "the tolerance is %g", b->tolerance);
    return counts_fit(c);
}

/* ---- names of lengths, for factors like 1 / n ------------------------------------------------------------------ */

static void name_size(nn_backward_check *c, int64_t size, const char *what, const char *array) {
    for (int k = 0; k < c->size_count; k++)
        if (c->sizes[k].size == size) return; /* the first name is enough */
    if (size < 2 || c->size_count == NN_MAX_SIZES) return;
    snprintf(c->size_names[c->size_count], sizeof c->size_names[0], "%s(%.30s)", what, array);
    c->sizes[c->size_count].name = c->size_names[c->size_count];
    c->sizes[c->size_count++].size = size;
}

static void name_sizes(nn_backward_check *c, const char *array, ag_shape shape, int64_t count) {
    if (shape.rank == 1) name_size(c, count, "length", array);
    if (shape.rank >= 2) {
        name_size(c, shape.dim[0], "rows", array);
        name_size(c, shape.dim[shape.rank - 1], "columns", array);
        name_size(c, count, "entries", array);
    }
}

static void name_all_sizes(nn_backward_check *c) {
    for (int i = 0; i < c->b->input_count; i++)
        name_sizes(c, c->b->inputs[i].name, c->b->inputs[i].shape, c->in_count[i]);
    for (int o = 0; o < c->b->output_count; o++)
        name_sizes(c, c->b->outputs[o].name, c->b->outputs[o].shape, c->out_count[o]);
}

/* ---- the check ------------------------------------------------------------------------------------------------- */

/* What backward claims for one row. */
static bool claim_row(nn_backward_check *c, int row) {
    nn_load_inputs(c, row);
    if (!nn_call_forward(c)) return false;
    for (int o = 0; o < c->b->output_count; o++)
        nn_array_load(c->b->type, c->output_gradients[o], c->g[o] + row * c->out_count[o], c->out_count[o]);
    if (!nn_call_backward(c) || !nn_inputs_unchanged(c, row, "backward")) return false;
    for (int i = 0; i < c->b->input_count; i++)
        if (c->claimed[i] != NULL)
            nn_array_store(c->b->type, c->input_gradients[i], c->claimed[i] + row * c->in_count[i], c->in_count[i]);
    return true;
}

static bool check_draw(nn_backward_check *c, ag_tape *tape, int draw) {
    if (!nn_backward_draw(c, draw)) return false;
    if (!(tape != NULL ? nn_backward_by_tape(c, tape, draw) : nn_backward_by_differences(c, draw))) return false;
    for (int row = draw * c->seeds; row < (draw + 1) * c->seeds; row++)
        if (!claim_row(c, row)) return false;
    return true;
}

static void judge(nn_backward_check *c) {
    nn_backward_report *r = c->report;
    r->holds = true;
    for (int o = 0; o < c->b->output_count; o++) {
        nn_backward_judge_output(c, o);
        r->holds = r->holds && (r->outputs[o].holds || !r->outputs[o].checked);
    }
    for (int i = 0; i < c->b->input_count; i++) {
        nn_backward_judge_input(c, i);
        r->holds = r->holds && (r->inputs[i].holds || !r->inputs[i].checked);
    }
    if (r->status != AG_OK) r->holds = false;
}

bool nn_check_backward(const nn_backward *backward, int draws, uint64_t seed, nn_backward_report *report) {
    nn_backward_check c;
    if (report == NULL) return false;
    memset(&c, 0, sizeof c);
    memset(report, 0, sizeof *report);
    c.b = backward;
    c.report = report;
    c.random.state = seed;
    c.draws = draws;
    report->name = backward != NULL && backward->name != NULL ? backward->name : "backward";
    if (!is_complete(&c)) return false;
    c.seeds = backward->unit_gradients ? 1 : 2;
    c.rows = c.draws * c.seeds;
    report->input_count = backward->input_count;
    report->output_count = backward->output_count;
    report->by_tape = backward->record != NULL;
    name_all_sizes(&c);
    if (!nn_backward_allocate(&c)) return false;
    ag_tape *tape = report->by_tape ? ag_tape_new(AG_F64) : NULL;
    bool done = true;
    for (; done && report->draws < draws; report->draws += done) done = check_draw(&c, tape, report->draws);
    ag_tape_free(tape);
    if (done) judge(&c);
    nn_release(c.memory);
    return report->holds;
}

/* ---- the report ------------------------------------------------------------------------------------------------ */

static bool write_finding(const nn_backward_finding *f, const char *what, FILE *out) {
    if (!f->checked) return true;
    if (fprintf(out, "  %-6s %s%s", f->holds ? "holds" : "WRONG", what, f->name) < 0) return false;
    if (f->holds) {
        if (fprintf(out, "  (%" PRId64 " numbers, worst error %.1e of %.1e allowed", f->compared, f->error,
                    f->allowed) < 0)
            return false;
        if (f->kinks > 0 && fprintf(out, ", %" PRId64 " at kinks", f->kinks) < 0) return false;
        return fprintf(out, ")\n") >= 0;
    }
    return fprintf(out, "  %s: %s\n             claimed %s\n             right   %s\n", f->kind, f->detail,
                   f->claimed_text, f->right_text) >= 0;
}

bool nn_backward_write(const nn_backward_report *report, FILE *out) {
    int checked = 0, hold = 0;
    if (report == NULL || out == NULL) return false;
    if (report->status != AG_OK) return fprintf(out, "failed %s: %s\n", report->name, report->message) >= 0;
    for (int i = 0; i < report->input_count; i++) {
        checked += report->inputs[i].checked;
        hold += report->inputs[i].checked && report->inputs[i].holds;
    }
    if (fprintf(out, "%s: %d gradients, %d hold, %d wrong, by %s at %d draws\n", report->name, checked, hold,
                checked - hold, report->by_tape ? "the tape" : "central differences", report->draws) < 0)
        return false;
    for (int o = 0; o < report->output_count; o++)
        if (!write_finding(&report->outputs[o], "value of ", out)) return false;
    for (int i = 0; i < report->input_count; i++)
        if (!write_finding(&report->inputs[i], "gradient by ", out)) return false;
    return true;
}
