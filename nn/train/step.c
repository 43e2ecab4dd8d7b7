/* Steps: one batch, forward and (if wanted) in reverse.
 *
 * Eagerly: the fields become constants, `forward` records, the tape is swept and rewound. Traced: the fields become inputs,
 * gradients and buffers' next values are recorded, too, and all of that is frozen as a program of fields, parameters,
 * buffers and clock. It is run where their arrays are: gradients are written into the parameters' adjoints. */
#include "nn/model_impl.h"
#include "nn/shapes.h"
#include "nn/train/train_impl.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { MOST = NN_MAX_OUTPUTS_OF_STEP, PROGRAMS = 8 };

/* What was traced for one shape of the batch. */
typedef struct traced {
    struct traced *next; /* used less recently */
    int field_count, parameters, buffers;
    ag_shape shapes[NN_MAX_FIELDS];
    bool training, derives;
    ag_program *program;
    ag_runner *runner;
    const void **in;
    void **out;
    bool *reaches;   /* of each parameter: whether the loss depends on it */
    void **gradient; /* of each parameter, room for one that is to be added; or NULL */
    void **update;   /* of each buffer, room for its next value; NULL: it stays */
} traced;

struct nn_step {
    nn_model *model;
    nn_forward *forward;
    void *context;
    nn_step_options options;
    ag_type type;
    nn_array converted[NN_MAX_FIELDS]; /* fields in the tape's type */
    nn_array outputs[MOST];
    traced *traces;
};

nn_model *nn_step_model(const nn_step *s) { return s->model; }
int nn_step_output_count(const nn_step *s) { return s->options.outputs; }

static ag_tape *tape_of(const nn_step *s) { return nn_model_tape(s->model); }
static bool is_fine(const nn_step *s) { return ag_tape_status(tape_of(s)) == AG_OK; }
static nn_type own_type(const nn_step *s) { return s->type == AG_F64 ? NN_F64 : NN_F32; }

/* ---- making and freeing ---- */

nn_step *nn_step_new(nn_model *model, nn_forward *forward, void *context, nn_step_options options) {
    ag_tape *t = nn_model_tape(model);
    if (t == NULL || ag_tape_status(t) != AG_OK) return NULL;
    if (options.outputs == 0) options.outputs = 1;
    if (options.programs == 0) options.programs = PROGRAMS;
    if (forward == NULL) ag_fail(t, AG_ERR_VALUE, "step: no function");
    if (options.outputs < 1 || options.outputs > MOST)
        ag_fail(t, AG_ERR_VALUE, "step: %d outputs, not 1 to %d", options.outputs, MOST);
    if (options.programs < 1) ag_fail(t, AG_ERR_VALUE, "step: %d programs are to be kept", options.programs);
    if (ag_tape_status(t) != AG_OK) return NULL;
    nn_step *s = nn_allocate(1, sizeof *s);
    if (s == NULL) {
        ag_fail(t, AG_ERR_MEMORY, "step: out of memory");
        return NULL;
    }
    *s = (nn_step){.model = model, .forward = forward, .context = context, .options = options, .type = ag_tape_type(t)};
    return s;
}

static void free_trace(traced *r) {
    if (r == NULL) return;
    for (int i = 0; r->gradient != NULL && i < r->parameters; i++) nn_release(r->gradient[i]);
    for (int i = 0; r->update != NULL && i < r->buffers; i++) nn_release(r->update[i]);
    ag_runner_free(r->runner);
    ag_program_free(r->program);
    nn_release(r->in);
    nn_release(r->out);
    nn_release(r->reaches);
    nn_release(r->gradient);
    nn_release(r->update);
    nn_release(r);
}

void nn_step_free(nn_step *s) {
    if (s == NULL) return;
    for (int k = 0; k < NN_MAX_FIELDS; k++) nn_array_free(&s->converted[k]);
    for (int k = 0; k < MOST; k++) nn_array_free(&s->outputs[k]);
    while (s->traces != NULL) {
        traced *next = s->traces->next;
        free_trace(s->traces);
        s->traces = next;
    }
    nn_release(s);
}

/* ---- fields ---- */

/* An array of this type and shape, made anew only if it has to be. */
static bool make_array(nn_step *s, nn_array *a, ag_shape shape) {
    if (a->data != NULL && nn_same_shape(a->shape, shape)) return true;
    nn_error e = {.status = AG_OK};
    nn_array_free(a);
    *a = nn_array_new(own_type(s), shape, &e);
    if (e.status != AG_OK) ag_fail(tape_of(s), e.status, "step: %s", e.message);
    return e.status == AG_OK;
}

/* Integers stay what they are: f32 has them up to 2^24, f64 up to 2^53. */
static int64_t find_too_large(const nn_step *s, const nn_array *field) {
    double most = s->type == AG_F32 ? 1 << 24 : 9007199254740992.0;
    if (nn_type_kind(field->type) == 'f' || nn_type_size(field->type) < 4) return -1;
    for (int64_t i = 0; i < nn_array_count(field); i++)
        if (fabs(nn_array_at(field, i)) > most) return i;
    return -1;
}

/* A field's numbers in the tape's type. */
static const void *field_data(nn_step *s, const nn_array *field, int k) {
    if (field->type == own_type(s)) return field->data;
    if (!make_array(s, &s->converted[k], field->shape)) return NULL;
    int64_t bad = find_too_large(s, field);
    if (bad < 0) bad = nn_convert(field->type, field->data, own_type(s), s->converted[k].data, nn_array_count(field));
    if (bad < 0) return s->converted[k].data;
    ag_fail(tape_of(s), AG_ERR_VALUE, "step: element %" PRId64 " of field %d, %.17g, does not fit the tape's type", bad,
            k, nn_array_at(field, bad));
    return NULL;
}

static bool check_fields(nn_step *s, const nn_array *fields, int count) {
    if (count < 0 || count > NN_MAX_FIELDS || (count > 0 && fields == NULL))
        ag_fail(tape_of(s), AG_ERR_VALUE, "step: %d fields, not 0 to %d", count, NN_MAX_FIELDS);
    for (int k = 0; k < count && is_fine(s); k++)
        if (fields[k].data == NULL) ag_fail(tape_of(s), AG_ERR_VALUE, "step: field %d has no data", k);
    return is_fine(s);
}

/* As an input it has a name, for messages. */
static ag_var record_field(nn_step *s, const nn_array *field, int k, bool input) {
    const void *data = field_data(s, field, k);
    ag_tape *t = tape_of(s);
    bool f64 = s->type == AG_F64;
    if (data == NULL) return ag_num(NAN);
    if (!input) return f64 ? ag_constant_tensor(t, data, field->shape) : ag_constant_tensor_f32(t, data, field->shape);
    ag_var x = f64 ? ag_tensor(t, data, field->shape) : ag_tensor_f32(t, data, field->shape);
    char name[24];
    (void)snprintf(name, sizeof name, "field %d", k);
    ag_name(x, name);
    return x;
}

/* ---- recording ---- */

/* Records the batch; the outputs are vars of the tape. */
static bool record(nn_step *s, const nn_array *fields, int count, bool inputs, ag_var *batch, ag_var *out) {
    ag_tape *t = tape_of(s);
    nn_model_forget_vars(s->model);
    for (int k = 0; k < NN_MAX_FIELDS; k++) batch[k] = k < count ? record_field(s, &fields[k], k, inputs) : ag_num(NAN);
    for (int k = 0; k < s->options.outputs; k++) out[k] = ag_num(NAN);
    if (!is_fine(s)) return false;
    int parts = nn_parameter_count(s->model) + nn_buffer_count(s->model);
    s->forward(s->context, batch, out);
    if (nn_parameter_count(s->model) + nn_buffer_count(s->model) != parts)
        ag_fail(t, AG_ERR_VALUE, "step: the model got parameters or buffers while a batch was recorded");
    if (!is_fine(s)) return false;
    for (int k = 0; k < s->options.outputs; k++) {
        if (ag_tape_of(out[k]) != NULL) continue;
        if (isnan(ag_value(out[k])))
            ag_fail(t, AG_ERR_VALUE, "step: output %d is the number nan: the function has not set it, or to that", k);
        out[k] = ag_constant(t, ag_value(out[k]));
    }
    if (!is_fine(s)) return false;
    ag_shape shape = ag_shape_of(out[0]);
    if (shape.rank != 0)
        ag_fail(t, AG_ERR_SHAPE, "step: the loss has %" PRId64 " elements, rank %d; it must be a scalar",
                ag_count(out[0]), shape.rank);
    return is_fine(s);
}

static void read_var(ag_var x, ag_type type, void *to) {
    if (type == AG_F64) ag_read(x, to);
    else ag_read_f32(x, to);
}

static void stage_buffers(nn_step *s) {
    for (int i = 0; i < nn_buffer_count(s->model) && is_fine(s); i++) {
        ag_var value = nn_buffer_update_at(s->model, i);
        if (!ag_is_zero(value)) (void)nn_model_stage(s->model, i, ag_data(value));
    }
}

static void run_eagerly(nn_step *s, const nn_array *fields, int count, nn_wanted wanted) {
    ag_tape *t = tape_of(s);
    ag_var batch[NN_MAX_FIELDS], out[MOST];
    ag_mark mark = ag_tape_mark(t);
    if (record(s, fields, count, false, batch, out)) {
        if (wanted != NN_VALUES) {
            ag_sweep(out, NULL, 1, wanted == NN_MORE_GRADIENTS ? AG_ACCUMULATE_FORGET : AG_RESET_FORGET);
            stage_buffers(s);
        }
        for (int k = 0; k < s->options.outputs && is_fine(s); k++)
            if (make_array(s, &s->outputs[k], ag_shape_of(out[k]))) read_var(out[k], s->type, s->outputs[k].data);
    }
    nn_model_forget_vars(s->model);
    ag_tape_rewind(t, mark);
}

/* ---- tracing ---- */

/* Inputs of the program, in this order: fields, parameters, buffers, the clock. */
static int input_count(const nn_step *s, int fields) {
    return fields + nn_parameter_count(s->model) + nn_buffer_count(s->model) + 1;
}

/* Outputs: those of `forward`, gradients of all parameters, next values of those buffers that have one. */
static int most_outputs(const nn_step *s) {
    return s->options.outputs + nn_parameter_count(s->model) + nn_buffer_count(s->model);
}

static void gather_inputs(const nn_step *s, const ag_var *batch, int fields, ag_var *xs) {
    int n = 0;
    for (int k = 0; k < fields; k++) xs[n++] = batch[k];
    for (int i = 0; i < nn_parameter_count(s->model); i++) xs[n++] = nn_parameter_at(s->model, i);
    for (int i = 0; i < nn_buffer_count(s->model); i++) xs[n++] = nn_buffer_at(s->model, i);
    xs[n] = nn_model_clock(s->model);
}

static bool out_of_memory(nn_step *s) {
    ag_fail(tape_of(s), AG_ERR_MEMORY, "step: out of memory");
    return false;
}

static bool make_update(nn_step *s, traced *r, int i) {
    r->update[i] = nn_allocate((size_t)ag_count(nn_buffer_at(s->model, i)) + 1, sizeof(double));
    return r->update[i] != NULL || out_of_memory(s);
}

/* Whether a recorded gradient is one: what a loss does not depend on has the constant 0. */
static bool is_gradient(ag_var g) {
    if (!ag_is_constant(g)) return true;
    ag_type type = ag_tape_type(ag_tape_of(g));
    int64_t count = ag_count(g);
    const void *data = ag_data(ag_contiguous(g));
    for (int64_t i = 0; data != NULL && i < count; i++)
        if (type == AG_F64 ? ((const double *)data)[i] != 0 : ((const float *)data)[i] != 0) return true;
    return false;
}

/* Records and freezes; `xs` and `ys` have room for all. */
static bool freeze(nn_step *s, traced *r, const nn_array *fields, ag_var *xs, ag_var *ys) {
    ag_var batch[NN_MAX_FIELDS];
    int parameters = nn_parameter_count(s->model), n = s->options.outputs;
    if (!record(s, fields, r->field_count, true, batch, ys)) return false;
    gather_inputs(s, batch, r->field_count, xs);
    if (r->derives) {
        ag_tape_trace_shapes(tape_of(s));
        ag_gradient(ys[0], xs + r->field_count, parameters, ys + n);
        for (int i = 0; i < parameters; i++) r->reaches[i] = is_fine(s) && is_gradient(ys[n + i]);
        n += parameters;
        for (int i = 0; i < nn_buffer_count(s->model) && is_fine(s); i++) {
            ag_var value = nn_buffer_update_at(s->model, i);
            if (ag_is_zero(value)) continue;
            if (!make_update(s, r, i)) return false;
            ys[n++] = value;
        }
    }
    if (!is_fine(s)) return false;
    for (int k = 0; k < s->options.outputs; k++)
        if (!make_array(s, &s->outputs[k], ag_shape_of(ys[k]))) return false;
    r->program = ag_program_freeze(xs, NULL, input_count(s, r->field_count), ys, NULL, n);
    if (ag_program_status(r->program) != AG_OK)
        ag_fail(tape_of(s), ag_program_status(r->program), "step: %s", ag_program_message(r->program));
    return is_fine(s);
}

static traced *trace(nn_step *s, const nn_array *fields, int count, bool derives) {
    ag_tape *t = tape_of(s);
    size_t parameters = (size_t)nn_parameter_count(s->model), buffers = (size_t)nn_buffer_count(s->model);
    size_t inputs = (size_t)input_count(s, count), outputs = (size_t)most_outputs(s);
    traced *r = nn_allocate(1, sizeof *r);
    ag_var *xs = nn_allocate(inputs + outputs, sizeof *xs);
    if (r != NULL) {
        *r = (traced){.field_count = count,
                      .parameters = (int)parameters,
                      .buffers = (int)buffers,
                      .training = nn_model_training(s->model),
                      .derives = derives};
        for (int k = 0; k < count; k++) r->shapes[k] = fields[k].shape;
        r->in = nn_allocate(inputs, sizeof *r->in);
        r->out = nn_allocate(outputs, sizeof *r->out);
        r->reaches = nn_allocate(parameters, sizeof *r->reaches);
        r->gradient = nn_allocate(parameters, sizeof *r->gradient);
        r->update = nn_allocate(buffers, sizeof *r->update);
    }
    bool fine = xs != NULL && r != NULL && r->in != NULL && r->out != NULL && r->reaches != NULL &&
                r->gradient != NULL && r->update != NULL;
    if (!fine) (void)out_of_memory(s);
    ag_mark mark = ag_tape_mark(t);
    ag_tape_trace(t, true);
    fine = fine && freeze(s, r, fields, xs, xs + inputs);
    ag_tape_trace(t, false);
    nn_model_forget_vars(s->model);
    ag_tape_rewind(t, mark);
    ag_tape_trim(t);
    nn_release(xs);
    if (fine) r->runner = ag_runner_new(r->program); /* its memory, when the recording's is given back */
    if (!fine) {
        free_trace(r);
        return NULL;
    }
    return r;
}

static bool is_of(const traced *r, const nn_step *s, const nn_array *fields, int count, bool derives) {
    bool same = r->field_count == count && r->derives == derives && r->training == nn_model_training(s->model) &&
                r->parameters == nn_parameter_count(s->model) && r->buffers == nn_buffer_count(s->model);
    for (int k = 0; same && k < count; k++) same = nn_same_shape(r->shapes[k], fields[k].shape);
    return same;
}

/* The trace becomes the first of all; a new one takes the place of the last where there are as many as there may be. */
static traced *find_trace(nn_step *s, const nn_array *fields, int count, bool derives) {
    traced **at = &s->traces, *r;
    for (int n = 1; *at != NULL && !is_of(*at, s, fields, count, derives); n++) {
        if (n < s->options.programs) {
            at = &(*at)->next;
        } else {
            free_trace(*at);
            *at = NULL;
        }
    }
    if (*at != NULL) {
        r = *at;
        *at = r->next;
    } else {
        r = trace(s, fields, count, derives);
    }
    if (r == NULL) return NULL;
    r->next = s->traces;
    s->traces = r;
    return r;
}

/* ---- running what was traced ---- */

/* Adjoints that are set are those that a sweep of the loss would set: a sweep of the parameters alone, by 0, does that. */
static bool open_adjoints(nn_step *s, const traced *r, bool more) {
    int n = nn_parameter_count(s->model), reached = 0;
    bool open = true;
    for (int i = 0; i < n; i++) {
        bool has = ag_numbers_of(nn_parameter_at(s->model, i)).grad != NULL;
        open = open && (more ? has || !r->reaches[i] : has == r->reaches[i]);
    }
    if (open || n == 0) return true;
    ag_var *xs = nn_allocate((size_t)n, 2 * sizeof *xs);
    if (xs == NULL) return out_of_memory(s);
    ag_mark mark = ag_tape_mark(tape_of(s));
    for (int i = 0; i < n; i++)
        if (r->reaches[i]) {
            xs[n + reached] = ag_num(0);
            xs[reached++] = nn_parameter_at(s->model, i);
        }
    if (reached == 0) xs[n] = xs[reached++] = ag_constant(tape_of(s), 0);
    ag_sweep(xs, xs + n, reached, more ? AG_ACCUMULATE : AG_RESET);
    ag_tape_rewind(tape_of(s), mark);
    nn_release(xs);
    return is_fine(s);
}

static bool set_inputs(nn_step *s, traced *r, const nn_array *fields) {
    int n = 0;
    for (int k = 0; k < r->field_count; k++) {
        r->in[n] = field_data(s, &fields[k], k);
        if (r->in[n++] == NULL) return false;
    }
    for (int i = 0; i < nn_parameter_count(s->model); i++) r->in[n++] = ag_data(nn_parameter_at(s->model, i));
    for (int i = 0; i < nn_buffer_count(s->model); i++) r->in[n++] = ag_data(nn_buffer_at(s->model, i));
    r->in[n] = ag_data(nn_model_clock(s->model));
    return true;
}

static bool set_outputs(nn_step *s, traced *r, bool more) {
    int n = 0;
    for (int k = 0; k < s->options.outputs; k++) {
        if (!make_array(s, &s->outputs[k], ag_program_output(r->program, k).shape)) return false;
        r->out[n++] = s->outputs[k].data;
    }
    if (!r->derives) return true;
    for (int i = 0; i < nn_parameter_count(s->model); i++) {
        ag_var p = nn_parameter_at(s->model, i);
        if (more && r->reaches[i] && r->gradient[i] == NULL) {
            r->gradient[i] = nn_allocate((size_t)ag_count(p) + 1, sizeof(double));
            if (r->gradient[i] == NULL) return out_of_memory(s);
        }
        r->out[n++] = !r->reaches[i] ? NULL : more ? r->gradient[i] : ag_grad_data(p);
    }
    for (int i = 0; i < nn_buffer_count(s->model); i++)
        if (r->update[i] != NULL) r->out[n++] = r->update[i];
    return true;
}

static void add_gradients(nn_step *s, const traced *r) {
    for (int i = 0; i < nn_parameter_count(s->model); i++) {
        ag_var p = nn_parameter_at(s->model, i);
        if (!r->reaches[i]) continue;
        int64_t n = ag_count(p);
        if (s->type == AG_F64) {
            double *to = ag_grad_data(p), *from = r->gradient[i];
            for (int64_t j = 0; j < n; j++) to[j] += from[j];
        } else {
            float *to = ag_grad_data(p), *from = r->gradient[i];
            for (int64_t j = 0; j < n; j++) to[j] += from[j];
        }
    }
}

static void run_traced(nn_step *s, const nn_array *fields, int count, nn_wanted wanted) {
    bool more = wanted == NN_MORE_GRADIENTS;
    traced *r = find_trace(s, fields, count, wanted != NN_VALUES);
    if (r == NULL || (r->derives && !open_adjoints(s, r, more))) return;
    if (!set_inputs(s, r, fields) || !set_outputs(s, r, more)) return;
    ag_status status = s->type == AG_F64
                           ? ag_run(r->runner, (const double **)(void *)r->in, (double **)(void *)r->out)
                           : ag_run_f32(r->runner, (const float **)(void *)r->in, (float **)(void *)r->out);
    if (status != AG_OK) {
        ag_fail(tape_of(s), status, "step: %s", ag_runner_message(r->runner));
        return;
    }
    if (r->derives && more) add_gradients(s, r);
    for (int i = 0; r->derives && i < nn_buffer_count(s->model); i++)
        if (r->update[i] != NULL) (void)nn_model_stage(s->model, i, r->update[i]);
}

/* ---- running ---- */

double nn_step_run(nn_step *s, const nn_array *fields, int count, nn_wanted wanted) {
    if (s == NULL || !is_fine(s) || !check_fields(s, fields, count)) return NAN;
    if (wanted == NN_GRADIENTS) nn_model_discard(s->model);
    if (wanted == NN_MORE_GRADIENTS) nn_model_begin_more(s->model);
    if (s->options.traced) run_traced(s, fields, count, wanted);
    else run_eagerly(s, fields, count, wanted);
    nn_model_end_batch(s->model);
    if (!is_fine(s)) nn_model_discard(s->model);
    return is_fine(s) ? nn_array_at(&s->outputs[0], 0) : NAN;
}

/* ---- what goes wrong ---- */

nn_array nn_sample_of(const nn_array *field, int64_t n) {
    nn_array sample = *field;
    size_t bytes = (size_t)nn_array_count(field) * nn_type_size(field->type);
    sample.shape.dim[0] = 1;
    sample.data = (char *)field->data + bytes / (size_t)field->shape.dim[0] * (size_t)n;
    return sample;
}

/* Whether a sample alone has an error of this status, or (AG_OK) a loss or a gradient that is not finite. */
static bool is_sample_bad(nn_step *s, const nn_array *one, int count, ag_status status) {
    char text[8];
    if (status == AG_OK) return nn_step_find_nan(s, one, count, text, sizeof text);
    nn_model_begin_again(s->model);
    run_eagerly(s, one, count, NN_VALUES);
    nn_model_end_batch(s->model);
    return ag_tape_status(tape_of(s)) == status;
}

static int64_t find_sample(nn_step *s, const nn_array *fields, int count, int64_t samples, ag_status status) {
    nn_array one[NN_MAX_FIELDS];
    int64_t found = -1, bad = 0;
    ag_tape_recover(tape_of(s));
    for (int k = 0; k < count; k++)
        if (fields[k].shape.rank < 1 || fields[k].shape.dim[0] != samples) return -1;
    for (int64_t n = 0; n < samples; n++) {
        for (int k = 0; k < count; k++) one[k] = nn_sample_of(&fields[k], n);
        bool is_bad = is_sample_bad(s, one, count, status);
        ag_status now = ag_tape_status(tape_of(s));
        ag_tape_recover(tape_of(s));
        if (now != AG_OK && now != status) return -1;
        if (!is_bad) continue;
        if (bad++ == 0) found = n;
    }
    return bad < samples || samples == 1 ? found : -1;
}

int64_t nn_step_find_sample(nn_step *s, const nn_array *fields, int count, int64_t samples, ag_status status) {
    int64_t found = find_sample(s, fields, count, samples, status);
    if (found >= 0 || !nn_model_training(s->model)) return found;
    nn_model_train(s->model, false); /* where batch norm, say, takes a sample alone */
    found = find_sample(s, fields, count, samples, status);
    nn_model_train(s->model, true);
    return found;
}

const nn_array *nn_step_output(const nn_step *s, int k) {
    static const nn_array inert;
    return s != NULL && k >= 0 && k < s->options.outputs ? &s->outputs[k] : &inert;
}

bool nn_step_find_nan(nn_step *s, const nn_array *fields, int count, char *text, size_t size) {
    ag_var batch[NN_MAX_FIELDS], out[MOST];
    if (text != NULL && size > 0) *text = '\0';
    if (s == NULL || !is_fine(s) || !check_fields(s, fields, count)) return false;
    ag_tape *t = tape_of(s);
    ag_mark mark = ag_tape_mark(t);
    bool found = false;
    nn_model_begin_again(s->model);
    if (record(s, fields, count, false, batch, out)) {
        if (isfinite(ag_value(out[0]))) {
            found = ag_find_infinity(out[0], text, size);
        } else { /* once more, so that what is computed of the fields alone is on the tape */
            nn_model_forget_vars(s->model);
            ag_tape_rewind(t, mark);
            found = record(s, fields, count, true, batch, out) && ag_find_infinity(out[0], text, size);
        }
    }
    nn_model_end_batch(s->model);
    nn_model_forget_vars(s->model);
    ag_tape_rewind(t, mark);
    return found;
}
