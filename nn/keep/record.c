/* What a model records of one batch: as a picture, and as C. */
#include "nn/keep/keep_impl.h"

#include <string.h>

enum { MOST = NN_MAX_OUTPUTS_OF_STEP };

/* A recording that leaves the model as it was. */
typedef struct recording {
    nn_model *model;
    ag_tape *tape;
    ag_mark mark;
    bool training;
    ag_var batch[NN_MAX_FIELDS], out[MOST];
} recording;

static void fail_of_tape(ag_tape *t, nn_error *e) {
    if (ag_tape_status(t) != AG_OK) nn_fail(e, ag_tape_status(t), "%s", ag_tape_message(t));
}

/* False after an error, and then there is nothing to close. */
static bool open_recording(recording *r, nn_model *model, nn_forward *forward, int fields, int outputs, nn_error *e) {
    *r = (recording){.model = model, .tape = nn_model_tape(model), .training = nn_model_training(model)};
    if (r->tape == NULL || forward == NULL) nn_fail(e, AG_ERR_VALUE, "there is no %s", r->tape ? "function" : "model");
    if (fields < 1 || fields > NN_MAX_FIELDS || outputs < 1 || outputs > MOST)
        nn_fail(e, AG_ERR_VALUE, "%d inputs and %d outputs, not 1 to %d and %d", fields, outputs, NN_MAX_FIELDS, MOST);
    fail_of_tape(r->tape, e);
    if (!nn_ok(e)) return false;
    r->mark = ag_tape_mark(r->tape);
    for (int k = 0; k < MOST; k++) r->out[k] = ag_num(0);
    return true;
}

/* Field k of the batch as an input. */
static void add_field(recording *r, int k, const nn_array *numbers, const char *name, nn_error *e) {
    nn_type own = ag_tape_type(r->tape) == AG_F64 ? NN_F64 : NN_F32;
    nn_array converted = nn_array_convert(numbers, own, e);
    if (!nn_ok(e)) return;
    r->batch[k] = own == NN_F64 ? ag_tensor(r->tape, converted.data, numbers->shape)
                                : ag_tensor_f32(r->tape, converted.data, numbers->shape);
    if (name != NULL) ag_name(r->batch[k], name);
    nn_array_free(&converted);
    fail_of_tape(r->tape, e);
}

static void record(recording *r, nn_forward *forward, void *context, int outputs, nn_error *e) {
    forward(context, r->batch, r->out);
    for (int k = 0; k < outputs; k++)
        if (ag_tape_of(r->out[k]) == NULL) r->out[k] = ag_constant(r->tape, ag_value(r->out[k]));
    fail_of_tape(r->tape, e);
}

/* An error that was met while recording is in `e`, and goes with what was recorded. */
static void close_recording(recording *r) {
    ag_tape_recover(r->tape);
    nn_model_discard(r->model);
    nn_model_train(r->model, r->training);
    ag_tape_rewind(r->tape, r->mark);
}

void nn_model_draw(nn_model *model, nn_forward *forward, void *context, const nn_array *fields, int count, FILE *out,
                   nn_error *e) {
    recording r;
    if (!nn_given(fields, "draw: the array of fields", e) || !nn_given(out, "draw: the file", e) ||
        !open_recording(&r, model, forward, count, 1, e))
        return;
    for (int k = 0; nn_ok(e) && k < count; k++) {
        char name[32];
        (void)snprintf(name, sizeof name, "field %d", k);
        add_field(&r, k, &fields[k], name, e);
    }
    if (nn_ok(e)) record(&r, forward, context, 1, e);
    if (nn_ok(e) && !ag_dot(r.tape, out)) nn_fail(e, AG_ERR_FILE, "draw: the file could not be written");
    close_recording(&r);
}

/* ---- C ---- */

static int64_t print(recording *r, const nn_c_options *o, int outputs, FILE *out, nn_error *e) {
    const char *names[NN_MAX_FIELDS];
    for (int k = 0; k < o->input_count; k++) names[k] = o->inputs[k].name;
    ag_program *p = ag_program_freeze(r->batch, names, o->input_count, r->out, o->outputs, outputs);
    ag_c_options options = {.rows = o->rows};
    ag_printed printed = ag_program_print_c(p, o->name != NULL ? o->name : "model", &options, out);
    if (printed.status != AG_OK) nn_fail(e, printed.status, "print: %.360s", printed.message);
    ag_program_free(p);
    return printed.work;
}

int64_t nn_model_print_c(nn_model *model, nn_forward *forward, void *context, nn_c_options o, FILE *out, nn_error *e) {
    recording r;
    int64_t work = 0;
    int outputs = o.output_count != 0 ? o.output_count : 1;
    if (!nn_ok(e) || !open_recording(&r, model, forward, o.inputs != NULL ? o.input_count : 0, outputs, e)) return 0;
    nn_model_train(model, false);
    ag_tape_trace(r.tape, true);
    for (int k = 0; nn_ok(e) && k < o.input_count; k++) {
        nn_array example = nn_array_new(NN_F64, o.inputs[k].shape, e); /* of zeros */
        if (nn_ok(e) && o.inputs[k].example != NULL)
            memcpy(example.data, o.inputs[k].example, (size_t)nn_array_count(&example) * sizeof(double));
        if (nn_ok(e)) add_field(&r, k, &example, NULL, e);
        nn_array_free(&example);
    }
    if (nn_ok(e)) record(&r, forward, context, outputs, e);
    if (nn_ok(e)) work = print(&r, &o, outputs, out, e);
    ag_tape_trace(r.tape, false);
    close_recording(&r);
    return work;
}
