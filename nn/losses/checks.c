#include "nn/losses/checks.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static bool has_shape(ag_var x) { return ag_tape_of(x) != NULL && !ag_is_inert(x); }

bool nn_comparable(const char *what, ag_var predictions, ag_var targets) {
    if (!has_shape(predictions) || !has_shape(targets)) return true;
    ag_shape a = ag_shape_of(predictions), b = ag_shape_of(targets);
    if (nn_same_shape(a, b)) return true;
    ag_fail(ag_tape_of(predictions), AG_ERR_SHAPE, "%s: predictions have shape %s, targets %s; they must be equal",
            what, nn_show_shape(a).text, nn_show_shape(b).text);
    return false;
}

/* ---- targets that are one of two numbers, checked whenever they are computed: a program has others in each run ---- */

/* Bytes only: they are the same in files everywhere. */
typedef struct two {
    char what[30]; /* the loss */
    int8_t a, b;
} two;

static bool among_shape(ag_call *call) {
    const ag_view *x = call->in[0].view;
    call->shape = ag_make_shape_(x->rank, x->dim);
    return true;
}

static bool is_among(const two *p, ag_tape *t, double x, int64_t i) {
    if (x == p->a || x == p->b) return true;
    ag_fail(t, AG_ERR_VALUE, "%s: target %" PRId64 " is %g, not %d or %d", p->what, i, isnan(x) ? NAN : x, p->a, p->b);
    return false;
}

static bool among_forward(const ag_call *call) {
    for (int64_t i = 0; i < call->out.view->count; i++) {
        double x =
            call->type == AG_F64 ? ((const double *)call->in[0].data)[i] : (double)((const float *)call->in[0].data)[i];
        if (!is_among(call->params, call->tape, x, i)) return false;
        if (call->type == AG_F64) ((double *)call->out.data)[i] = x;
        else ((float *)call->out.data)[i] = (float)x;
    }
    return true;
}

static ag_var among_tangent(const ag_rule *rule, const ag_var *tangents) {
    (void)rule;
    return tangents[0];
}

static void among_record(const ag_rule *rule, ag_var w, ag_var *contributions) {
    if (rule->wanted[0]) contributions[0] = w;
}

/* Printed code has nowhere to say that a target is wrong. */
static bool among_c_form(const ag_c_form *f) {
    ag_c_line(f, "for (long i = 0; i < %lld; i++) {", (long long)f->views[0]->count);
    ag_c_line(f, "%s[i] = %s[i];", f->out, f->in[0]);
    ag_c_line(f, "}");
    return true;
}

static bool among_valid(const ag_call *call) {
    const two *p = call->params;
    return call->n == 1 && call->params_size == sizeof *p && memchr(p->what, '\0', sizeof p->what) != NULL;
}

static const ag_operation among = {.name = "among",
                                   .shape = among_shape,
                                   .forward = among_forward,
                                   .tangent = among_tangent,
                                   .record = among_record,
                                   .c_form = among_c_form,
                                   .valid = among_valid};
const ag_operation *const nn_operations[NN_OPERATIONS] = {&among};

ag_var nn_among(const char *what, ag_var of, ag_var targets, int a, int b) {
    two params = {.a = (int8_t)a, .b = (int8_t)b};
    (void)snprintf(params.what, sizeof params.what, "%s", what);
    if (has_shape(targets)) return ag_apply(&among, &targets, 1, &params, sizeof params);
    bool fine = !has_shape(of) || ag_is_inert(targets) || is_among(&params, ag_tape_of(of), ag_value(targets), 0);
    return fine ? targets : nn_inert(of);
}

bool nn_one_a_row(const char *what, const char *name, ag_var x, ag_var of) {
    if (!has_shape(of)) return true;
    ag_shape rows = ag_shape_of(of), shape = rows;
    if (shape.rank > 0) shape.rank--;
    if (rows.rank > 0 && (!has_shape(x) || nn_same_shape(ag_shape_of(x), shape))) return true;
    ag_fail(ag_tape_of(of), AG_ERR_SHAPE,
            "%s: %s of shape %s do not go with shape %s, which has one of them for each row", what, name,
            nn_show_shape(ag_shape_of(x)).text, nn_show_shape(rows).text);
    return false;
}
