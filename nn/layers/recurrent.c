/* Recurrent layers. What depends on the inputs alone is one product for all steps. The steps themselves are one operation
 * for an LSTM; of other cells they are recorded one by one or, where they are many, as a scan. */
#include "nn/layers/parts.h"
#include "nn/memory.h"
#include "nn/model_impl.h"

#include <inttypes.h>
#include <math.h>

static int gates_of(nn_cell cell) { return cell == NN_LSTM ? 4 : cell == NN_GRU ? 3 : 1; }
static int directions_of(const nn_recurrent *layer) { return layer->options.bidirectional ? 2 : 1; }

/* ---- parameters -------------------------------------------------------------------------------------------------- */

static nn_recurrent_part part_init(nn_model *model, const nn_recurrent *layer, const char *name, int number) {
    int directions = directions_of(layer), level = number / directions;
    int64_t inputs = level == 0 ? layer->inputs : directions * layer->hidden,
            rows = gates_of(layer->cell) * layer->hidden;
    double limit = 1 / sqrt((double)layer->hidden);
    const ag_shape shapes[] = {AG_SHAPE(rows, inputs), AG_SHAPE(rows, layer->hidden), AG_SHAPE(rows), AG_SHAPE(rows)};
    static const char *const kinds[] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"};
    ag_var vars[4] = {{0}};
    for (int k = 0; k < (layer->options.no_bias ? 2 : 4); k++) {
        char suffix[40];
        snprintf(suffix, sizeof suffix, ".%s_l%d%s", kinds[k], level, number % directions ? "_reverse" : "");
        vars[k] = nn_part(model, name, suffix, shapes[k], NN_UNIFORM, limit);
    }
    return (nn_recurrent_part){vars[0], vars[1], vars[2], vars[3]};
}

nn_recurrent nn_recurrent_init(nn_model *model, nn_cell cell, const char *name, int64_t inputs, int64_t hidden,
                               nn_recurrent_options options) {
    nn_recurrent layer;
    memset(&layer, 0, sizeof layer);
    if (options.layers == 0) options.layers = 1;
    if (options.unroll == 0) options.unroll = 256;
    layer.model = model;
    layer.cell = cell;
    layer.inputs = inputs;
    layer.hidden = hidden;
    layer.options = options;
    if (model == NULL) return layer;
    const char *known = name == NULL ? "" : name;
    if (options.layers < 1 || options.layers > NN_MAX_RECURRENT_LAYERS)
        ag_fail(nn_model_tape(model), AG_ERR_VALUE, "recurrent %.80s: %d layers, not 1 to %d", known, options.layers,
                NN_MAX_RECURRENT_LAYERS);
    else if (hidden < 1 || hidden > INT32_MAX)
        ag_fail(nn_model_tape(model), AG_ERR_SHAPE, "recurrent %.80s: a hidden size of %" PRId64, known, hidden);
    else if (cell < NN_RNN || cell > NN_LSTM)
        ag_fail(nn_model_tape(model), AG_ERR_VALUE, "recurrent %.80s: there is no cell %d", known, (int)cell);
    else
        for (int i = 0; i < options.layers * directions_of(&layer); i++)
            layer.parts[i] = part_init(model, &layer, name, i);
    for (int level = 0; level + 1 < options.layers && level < NN_MAX_RECURRENT_LAYERS; level++) {
        char suffix[40];
        snprintf(suffix, sizeof suffix, ".dropout_l%d", level);
        layer.dropouts[level] = nn_part_dropout(model, name, suffix, options.dropout);
    }
    return layer;
}

/* ---- one step ---------------------------------------------------------------------------------------------------- */

/* What a step takes: the state, what the inputs contribute to the gates, and the weights of the state, turned over. */
typedef struct step_inputs {
    ag_var h, gates, weight, bias;
} step_inputs;

static ag_var gate(ag_var gates, int64_t hidden, int i) { return ag_slice(gates, 1, i * hidden, (i + 1) * hidden, 1); }

static ag_var gru_step(step_inputs x, int64_t hidden) {
    ag_var state = ag_matmul(x.h, x.weight);
    if (!ag_is_zero(x.bias)) state = ag_add(state, x.bias);
    ag_var reset = ag_sigmoid(ag_add(gate(x.gates, hidden, 0), gate(state, hidden, 0)));
    ag_var update = ag_sigmoid(ag_add(gate(x.gates, hidden, 1), gate(state, hidden, 1)));
    ag_var next = ag_tanh(ag_fma(reset, gate(state, hidden, 2), gate(x.gates, hidden, 2)));
    return ag_fma(update, ag_sub(x.h, next), next);
}

/* The state after the step. */
static ag_var step(nn_cell cell, step_inputs x) {
    if (cell == NN_GRU) return gru_step(x, ag_shape_of(x.h).dim[1]);
    ag_var sum = ag_add(x.gates, ag_matmul(x.h, x.weight));
    return cell == NN_RNN ? ag_tanh(sum) : ag_relu(sum);
}

/* ---- a sequence in one direction --------------------------------------------------------------------------------- */

/* Bias of the state that cannot be added to what the inputs contribute: the GRU multiplies it. */
static bool keeps_bias(const nn_recurrent *layer, const nn_recurrent_part *part) {
    return layer->cell == NN_GRU && !ag_is_zero(part->bias_hh);
}

/* What the inputs contribute to the gates, for all steps: (steps, batch, gates hidden); without a bias. */
static ag_var input_gates(const nn_recurrent_part *part, ag_var x) {
    return ag_matmul(x, ag_transpose(part->weight_ih));
}

static ag_var unrolled(const nn_recurrent *layer, step_inputs x, bool backward, ag_var *h) {
    int64_t steps = ag_shape_of(x.gates).dim[0];
    ag_var *results = nn_allocate((size_t)steps, sizeof *results), all = x.gates;
    if (results == NULL) {
        ag_fail(ag_tape_of(x.gates), AG_ERR_MEMORY, "recurrent: out of memory for %" PRId64 " steps", steps);
        return nn_inert(x.gates);
    }
    for (int64_t i = 0; i < steps; i++) {
        int64_t at = backward ? steps - 1 - i : i;
        step_inputs now = x;
        now.gates = ag_index(all, 0, at);
        results[at] = x.h = step(layer->cell, now);
    }
    ag_var y = ag_stack(results, (int)steps, 0);
    nn_release(results);
    *h = x.h;
    return y;
}

static void traced_step(ag_tape *tape, const ag_var *x, ag_var *y, void *context) {
    const nn_cell *cell = context;
    (void)tape;
    y[0] = y[1] = step(*cell, (step_inputs){x[0], x[1], x[2], *cell == NN_GRU ? x[3] : ag_num(0)});
}

/* The program of a step, made once for each size. */
static ag_program *step_program(const nn_recurrent *layer, int64_t batch) {
    char key[64];
    int64_t rows = gates_of(layer->cell) * layer->hidden;
    snprintf(key, sizeof key, "cell %d, %" PRId64 " x %" PRId64, (int)layer->cell, batch, layer->hidden);
    ag_program *program = nn_model_kept(layer->model, key);
    if (program != NULL) return program;
    const ag_port in[] = {ag_in("h", AG_SHAPE(batch, layer->hidden)), ag_in("gates", AG_SHAPE(batch, rows)),
                          ag_in("weight", AG_SHAPE(layer->hidden, rows)), ag_in("bias", AG_SHAPE(rows))};
    nn_cell cell = layer->cell;
    program = ag_program_trace(ag_tape_type(nn_model_tape(layer->model)), traced_step, &cell, in,
                               cell == NN_GRU ? 4 : 3, NULL, 2);
    return nn_model_keep_program(layer->model, key, program);
}

static ag_var scanned(const nn_recurrent *layer, step_inputs x, bool backward, ag_var *h) {
    ag_shape shape = ag_shape_of(x.gates);
    ag_program *program = step_program(layer, shape.dim[1]);
    if (program == NULL) return nn_inert(x.gates);
    ag_var xs[4] = {x.h, x.gates, ag_contiguous(x.weight)}, ys[2] = {{0}};
    const ag_along along[4] = {AG_EACH, AG_EACH, AG_SHARED, AG_SHARED};
    if (layer->cell == NN_GRU)
        xs[3] = ag_is_zero(x.bias) ? ag_zeros(ag_tape_of(x.gates), AG_SHAPE(shape.dim[2])) : x.bias;
    ag_scan(ag_tape_of(x.gates), program, shape.dim[0], 1, xs, along, &(ag_scan_options){.backward = backward}, ys);
    *h = ys[0];
    return ys[1];
}

/* Of the states (2, steps, batch, hidden) the last ones go to h and c. */
static ag_var lstm(const nn_recurrent_part *part, ag_var x, ag_var h_first, ag_var c_first, bool backward, ag_var *h,
                   ag_var *c) {
    bool biased = !ag_is_zero(part->bias_ih);
    ag_var bias = biased ? ag_add(part->bias_ih, part->bias_hh) : ag_num(0);
    ag_var states = ag_lstm(input_gates(part, x), part->weight_hh, h_first, c_first, bias, backward);
    if (ag_is_inert(states)) return nn_inert(x);
    ag_var y = ag_index(states, 0, 0);
    int64_t last = backward ? 0 : ag_shape_of(x).dim[0] - 1;
    *h = ag_index(y, 0, last);
    *c = ag_index(ag_index(states, 0, 1), 0, last);
    return y;
}

/* ---- the layer --------------------------------------------------------------------------------------------------- */

/* State `number` of a given one, or zeros. */
static ag_var first_state(ag_var given, int number, ag_tape *tape, int64_t batch, int64_t hidden) {
    return ag_is_zero(given) ? ag_zeros(tape, AG_SHAPE(batch, hidden)) : ag_index(given, 0, number);
}

static bool fits_state(const nn_recurrent *layer, const char *name, ag_var state, ag_var x) {
    if (ag_is_zero(state)) return true;
    ag_shape want = AG_SHAPE(layer->options.layers * directions_of(layer), ag_shape_of(x).dim[1], layer->hidden);
    if (ag_tape_of(state) == ag_tape_of(x) && nn_same_shape(ag_shape_of(state), want)) return true;
    ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "recurrent: the state's %s has shape %s, not %s", name,
            nn_show_shape(ag_shape_of(state)).text, nn_show_shape(want).text);
    return false;
}

static bool fits(const nn_recurrent *layer, ag_var x) {
    ag_shape s = ag_shape_of(x);
    bool first = layer->options.batch_first;
    if (s.rank != 3 || s.dim[2] != layer->inputs)
        ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "recurrent: x has shape %s, not (%s, %" PRId64 ")", nn_show_shape(s).text,
                first ? "batch, steps" : "steps, batch", layer->inputs);
    else if (s.dim[first] < 1 || s.dim[first] > INT32_MAX)
        ag_fail(ag_tape_of(x), AG_ERR_SHAPE, "recurrent: x has shape %s, of %" PRId64 " steps, not 1 to %d",
                nn_show_shape(s).text, s.dim[first], INT32_MAX);
    return ag_tape_status(ag_tape_of(x)) == AG_OK;
}

/* x is (steps, batch, inputs) here. */
static bool fits_start(const nn_recurrent *layer, ag_var x, const nn_recurrent_state *start) {
    return fits_state(layer, "h", start->h, x) && (layer->cell != NN_LSTM || fits_state(layer, "c", start->c, x));
}

/* All directions of one level, joined; the states after it go to h and c. */
static ag_var apply_level(const nn_recurrent *layer, int level, ag_var x, const nn_recurrent_state *start, ag_var *h,
                          ag_var *c) {
    int directions = directions_of(layer);
    ag_shape s = ag_shape_of(x);
    ag_var y[2] = {{0}};
    for (int d = 0; d < directions; d++) {
        int number = level * directions + d;
        const nn_recurrent_part *part = &layer->parts[number];
        ag_var first = first_state(start->h, number, ag_tape_of(x), s.dim[1], layer->hidden);
        if (layer->cell == NN_LSTM) {
            ag_var cell = first_state(start->c, number, ag_tape_of(x), s.dim[1], layer->hidden);
            y[d] = lstm(part, x, first, cell, d == 1, &h[number], &c[number]);
            continue;
        }
        step_inputs in = {first, input_gates(part, x), ag_transpose(part->weight_hh), ag_num(0)};
        bool keeps = keeps_bias(layer, part), biased = !ag_is_zero(part->bias_ih);
        if (biased) in.gates = ag_add(in.gates, keeps ? part->bias_ih : ag_add(part->bias_ih, part->bias_hh));
        if (keeps) in.bias = part->bias_hh;
        bool unroll = s.dim[0] <= layer->options.unroll;
        y[d] = (unroll ? unrolled : scanned)(layer, in, d == 1, &h[number]);
    }
    return directions == 1 ? y[0] : ag_concat(y, 2, 2);
}

ag_var nn_recurrent_apply(const nn_recurrent *layer, ag_var x, nn_recurrent_state start, nn_recurrent_state *end) {
    ag_var h[2 * NN_MAX_RECURRENT_LAYERS] = {{0}}, c[2 * NN_MAX_RECURRENT_LAYERS] = {{0}};
    if (layer == NULL) ag_fail(ag_tape_of(x), AG_ERR_VALUE, "recurrent: the layer is NULL");
    bool batch_first = layer != NULL && layer->options.batch_first;
    if (end != NULL) end->h = end->c = nn_inert(x);
    if (layer == NULL || layer->model == NULL || ag_tape_of(x) == NULL || ag_is_inert(x) ||
        ag_tape_status(ag_tape_of(x)) != AG_OK)
        return nn_inert(x);
    if (!fits(layer, x)) return nn_inert(x);
    if (batch_first) x = ag_contiguous(ag_permute(x, AG_AXES(1, 0, 2)));
    if (!fits_start(layer, x, &start)) return nn_inert(x);
    int count = layer->options.layers * directions_of(layer);
    for (int level = 0; level < layer->options.layers; level++) {
        x = apply_level(layer, level, x, &start, h, c);
        x = nn_dropout_apply(layer->dropouts[level], x);
    }
    if (end != NULL) {
        end->h = ag_stack(h, count, 0);
        end->c = layer->cell == NN_LSTM ? ag_stack(c, count, 0) : ag_num(0);
    }
    return batch_first ? ag_permute(x, AG_AXES(1, 0, 2)) : x;
}
