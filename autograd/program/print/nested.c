/* Operations that run programs, as loops that call the functions of these; and what may fail when a function runs. */
#include "../root_impl.h"
#include "../../ops/c_form_impl.h"
#include "../scan_impl.h"
#include "print_impl.h"

/* ---- what may fail ---- */

bool ag_holds_programs(const ag_operation *operation) {
    return ag_is_map(operation) || operation == &ag_scan_operation || operation == &ag_root_operation;
}

/* What is known of a program; new if there is nothing. NULL, and an error, if there is no memory. It moves when another
 * one becomes known. */
static ag_c_known *known_of(ag_c_file *file, const ag_program *p) {
    ag_c_known *all = (ag_c_known *)(void *)file->known.base;
    for (uint32_t k = 0; k < file->known_count; k++)
        if (all[k].p == p) return &all[k];
    size_t need = (file->known_count + (size_t)1) * sizeof *all;
    if (need > file->known.size && !ag_range_grow(file->memory, &file->known, need, SIZE_MAX)) {
        ag_c_fail(file, AG_ERR_MEMORY, "print: out of memory");
        return NULL;
    }
    all = (ag_c_known *)(void *)file->known.base;
    ag_c_known *at = &all[file->known_count++];
    *at = (ag_c_known){.p = p};
    return at;
}

void ag_c_forget(ag_c_file *file, const ag_program *p) {
    ag_c_known *all = (ag_c_known *)(void *)file->known.base;
    for (uint32_t k = 0; k < file->known_count; k++)
        if (all[k].p == p) all[k] = all[--file->known_count];
}

/* What a map or scan runs; NULL of other operations, and of no rows or steps. */
static const ag_program *repeated(const ag_operation *operation, const void *params) {
    if (ag_is_map(operation)) return ag_map_rows(params) ? ag_map_program(params) : NULL;
    const ag_scanning *scan = operation == &ag_scan_operation ? params : NULL;
    return scan && scan->steps ? scan->p : NULL;
}

static bool find_out(ag_c_file *file, const ag_program *p) {
    for (uint64_t i = 0; i < p->codes.count; i++) {
        const ag_code *c = ag_code_at(p, i);
        if (c->op != CODE_CALL || !ag_value_count(p, (uint32_t)i)) continue;
        const ag_pcall *call = ag_pcall_at(p, c->extra);
        if (ag_is_guard(p, c) || call->operation == &ag_root_operation || ag_c_form_checks(call->operation))
            return true;
        const ag_program *inner = repeated(call->operation, ag_pparams_at(p, call->params));
        if (inner && ag_c_can_fail(file, inner)) return true;
    }
    return false;
}

bool ag_c_can_fail(ag_c_file *file, const ag_program *p) {
    ag_c_known *known = known_of(file, p);
    if (!known) return true;
    if (known->found_out) return known->can_fail;
    bool can_fail = find_out(file, p);
    known = known_of(file, p);
    if (known) {
        known->found_out = true;
        known->can_fail = can_fail;
    }
    return can_fail;
}

int ag_c_add_check(ag_c_file *file, const char *sentence, const char *name) {
    ag_text *t = &file->checks;
    ag_text_add(t, " *   %d: ", ++file->check_count);
    if (*name) {
        ag_text_add(t, "\"");
        for (const char *at = name; *at; at++)
            ag_text_add(t, "%c", *at < ' ' || *at > '~' || *at == '/' || *at == '\\' || *at == '?' ? '_' : *at);
        ag_text_add(t, "\" ");
    }
    ag_text_add(t, "%s\n", sentence);
    return file->check_count;
}

int ag_c_guard_check(ag_c_file *file, const ag_guarding *g) {
    return ag_c_add_check(file,
                          g->expected ? "is false, and was true when the program was recorded"
                                      : "is true, and was false when the program was recorded",
                          g->name[0] ? g->name : "a guard");
}

void ag_c_call(ag_text *t, const char *name, const ag_text *arguments, bool can_fail) {
    const char *list = arguments->base ? arguments->base : "";
    t->failed |= arguments->failed;
    if (!can_fail) {
        ag_text_line(t, "%s(%s);", name, list);
        return;
    }
    ag_text_line(t, "{");
    ag_text_line(t, "const int ad_failed = %s(%s);", name, list);
    ag_text_line(t, "if (ad_failed) return ad_failed;");
    ag_text_line(t, "}");
}

/* ---- functions of inner programs ---- */

typedef struct ag_c_inner {
    const ag_program *p;
    char name[2 * NAME_ROOM];
    int nx, ny;
    int64_t work;
} ag_c_inner;

/* Its function, which is printed when it is wanted first. */
static ag_c_inner print_inner(ag_c_function *f, const ag_program *p, const char *what) {
    ag_c_file *file = f->file;
    ag_c_inner in = {.p = p, .nx = ag_program_inputs(p), .ny = ag_program_outputs(p)};
    ag_c_known *known = known_of(file, p);
    if (known && known->number) {
        snprintf(in.name, sizeof in.name, "%s_%s%u", file->name, known->what, known->number);
        in.work = known->work;
        return in;
    }
    unsigned number = ++file->inner;
    snprintf(in.name, sizeof in.name, "%s_%s%u", file->name, what, number);
    in.work = ag_c_print_function(file, p, in.name, STYLE_INNER, NULL);
    known = known_of(file, p);
    if (!known) return in;
    known->what = what;
    known->number = number;
    known->work = in.work;
    return in;
}

static long long in_count(const ag_c_inner *in, int k) {
    return (long long)ag_where_count(in->p, ag_pinput_at(in->p, (uint64_t)k)->ref.where);
}
static long long out_count(const ag_c_inner *in, int k) {
    return (long long)ag_where_count(in->p, ag_poutput_at(in->p, (uint64_t)k)->ref.where);
}

static void add_argument(ag_text *t, const char *text) { ag_text_add(t, "%s%s", t->count ? ", " : "", text); }

/* The call, with room for the function's own work array. */
static void call_inner(ag_c_function *f, const ag_c_inner *in, ag_text *arguments) {
    if (in->work) add_argument(arguments, ag_c_room(f, in->work).text);
    ag_c_call(&f->body, in->name, arguments, ag_c_can_fail(f->file, in->p));
    ag_text_free(arguments);
}

static ag_c_place take_room(ag_c_function *f, long long count) {
    ag_c_place place = ag_c_room(f, count);
    f->taken += count;
    return place;
}

/* An input that may have rows, at one. What has no elements is no argument. */
static void add_input(ag_text *t, const ag_c_inner *in, int k, const char *from, bool each) {
    if (in_count(in, k) == 0) return;
    add_argument(t, from);
    if (each) ag_text_add(t, " + row * %lld", in_count(in, k));
}

/* An output, at `at` of where all are; `row`: of one row. */
static void add_output(ag_text *t, const ag_c_inner *in, int k, const char *to, long long at, bool row) {
    if (out_count(in, k) == 0) return;
    add_argument(t, to);
    ag_text_add(t, " + %lld", at);
    if (row) ag_text_add(t, " + row * %lld", out_count(in, k));
}

/* Of no rows or steps: the result is zeros, or the state as it was. */
static void print_none(ag_c_function *f, const ag_program *p, int carries, const char *const *from, const char *out,
                       long long results) {
    const ag_c_inner in = {.p = p};
    long long at = 0;
    for (int k = 0; k < carries; at += in_count(&in, k++))
        ag_text_line(&f->body, "for (long i = 0; i < %lld; i++) %s[%lld + i] = %s[i];", in_count(&in, k), out, at,
                     from[k]);
    if (at < results) ag_text_line(&f->body, "for (long i = %lld; i < %lld; i++) %s[i] = 0;", at, results, out);
}

/* ---- maps ---- */

/* An output that is summed up is computed in the work array and added. */
static void print_map(ag_c_function *f, const void *params, const char *const *from, const char *out) {
    ag_c_inner in = print_inner(f, ag_map_program(params), "map");
    int64_t at = 0;
    ag_text t = {.memory = f->body.memory}, add = {.memory = f->body.memory, .depth = f->body.depth + 1};
    for (int k = 0; k < in.nx; k++) add_input(&t, &in, k, from[k], ag_map_along(params, k) == AG_EACH);
    for (int k = 0; k < in.ny; k++) {
        long long count = out_count(&in, k);
        if (ag_map_along(params, in.nx + k) == AG_EACH) {
            add_output(&t, &in, k, out, (long long)at, true);
            at += ag_map_rows(params) * count;
            continue;
        }
        if (count == 0) continue;
        ag_c_place sum = take_room(f, count);
        add_argument(&t, sum.text);
        ag_text_line(&f->body, "for (long i = 0; i < %lld; i++) %s[%lld + i] = 0;", count, out, (long long)at);
        ag_text_line(&add, "for (long i = 0; i < %lld; i++) %s[%lld + i] += (%s)[i];", count, out, (long long)at,
                     sum.text);
        at += count;
    }
    ag_text_line(&f->body, "for (long row = 0; row < %lld; row++) {", (long long)ag_map_rows(params));
    call_inner(f, &in, &t);
    if (add.base) ag_text_add(&f->body, "%s", add.base);
    ag_text_line(&f->body, "}");
    f->body.failed |= add.failed;
    ag_text_free(&add);
}

/* ---- scans ---- */

/* The state is in the result's first part; the next one is computed in the work array and copied there. */
static void print_scan(ag_c_function *f, const void *params, const char *const *from, const char *out) {
    const ag_scanning *m = params;
    ag_c_inner in = print_inner(f, m->p, "scan");
    ag_text t = {.memory = f->body.memory};
    long long states = 0, at;
    for (int k = 0; k < m->carries; k++) {
        if (in_count(&in, k))
            ag_text_line(&f->body, "for (long i = 0; i < %lld; i++) %s[%lld + i] = %s[i];", in_count(&in, k), out,
                         states, from[k]);
        add_output(&t, &in, k, out, states, false);
        states += in_count(&in, k);
    }
    ag_c_place after = states ? take_room(f, states) : (ag_c_place){.at = 0};
    for (int k = m->carries; k < in.nx; k++) add_input(&t, &in, k, from[k], ag_scan_along(m, k) == AG_EACH);
    at = 0;
    for (int k = 0; k < m->carries; k++) {
        add_output(&t, &in, k, "work", (long long)after.at + at, false);
        at += out_count(&in, k);
    }
    for (int k = m->carries; k < in.ny; k++) {
        add_output(&t, &in, k, out, at, true);
        at += out_count(&in, k) * m->steps;
    }
    if (m->backward) ag_text_line(&f->body, "for (long row = %lld; row >= 0; row--) {", (long long)m->steps - 1);
    else ag_text_line(&f->body, "for (long row = 0; row < %lld; row++) {", (long long)m->steps);
    call_inner(f, &in, &t);
    if (states) ag_text_line(&f->body, "for (long i = 0; i < %lld; i++) %s[i] = (%s)[i];", states, out, after.text);
    ag_text_line(&f->body, "}");
}

/* ---- roots ---- */

typedef struct ag_c_root {
    ag_c_function *f;
    ag_c_inner in;
    const char *const *from;
    const char *out;
    ag_c_place step, residual;
    long long n;
} ag_c_root;

static void evaluate(const ag_c_root *r, bool fixed) {
    ag_text t = {.memory = r->f->body.memory};
    add_argument(&t, r->out);
    for (int k = 1; k < r->in.nx; k++) add_input(&t, &r->in, k, r->from[k], false);
    add_argument(&t, r->step.text);
    if (!fixed) add_argument(&t, r->residual.text);
    int64_t taken = r->f->taken;
    for (int k = 1; fixed && k < r->in.ny; k++) /* what g gives beside its value */
        if (out_count(&r->in, k)) add_argument(&t, take_room(r->f, out_count(&r->in, k)).text);
    call_inner(r->f, &r->in, &t);
    r->f->taken = taken;
    if (fixed) return;
    ag_text_line(&r->f->body, "ad_norm = 0;");
    ag_text_line(&r->f->body, "for (long i = 0; i < %lld; i++) ad_norm += (double)(%s)[i] * (double)(%s)[i];", r->n,
                 r->residual.text, r->residual.text);
    ag_text_line(&r->f->body, "ad_norm = sqrt(ad_norm);");
}

/* ad_moved: the greatest change from `old` to `now`, relative. */
static void measure(const ag_c_root *r, const char *old, const char *now) {
    ag_text *t = &r->f->body;
    ag_text_line(t, "const double ad_by = fabs((double)(%s)[i] - (double)(%s)[i]) / fmax(1.0, fabs((double)(%s)[i]));",
                 now, old, now);
    ag_text_line(t, "if (!(ad_by <= ad_moved)) ad_moved = ad_by;");
}

static void print_fixed_point(const ag_c_root *r, const char *tolerance) {
    ag_text *t = &r->f->body;
    evaluate(r, true);
    ag_text_line(t, "ad_moved = 0;");
    ag_text_line(t, "for (long i = 0; i < %lld; i++) {", r->n);
    measure(r, r->out, r->step.text);
    ag_text_line(t, "%s[i] = (%s)[i];", r->out, r->step.text);
    ag_text_line(t, "}");
    ag_text_line(t, "ad_found = ad_moved <= %s;", tolerance);
}

/* A step is taken back by halves while it makes |f| larger. */
static void print_newton(const ag_c_root *r, const char *tolerance, const char *number, const char *old) {
    ag_text *t = &r->f->body;
    ag_text_line(t, "const double ad_before = ad_norm;");
    ag_text_line(t, "ad_moved = 0;");
    ag_text_line(t, "for (long i = 0; i < %lld; i++) {", r->n);
    ag_text_line(t, "(%s)[i] = %s[i];", old, r->out);
    ag_text_line(t, "%s[i] = (%s)((double)%s[i] - (double)(%s)[i]);", r->out, number, r->out, r->step.text);
    measure(r, old, r->out);
    ag_text_line(t, "}");
    ag_text_line(t, "ad_found = ad_moved <= %s;", tolerance);
    ag_text_line(t, "if (ad_found || !(ad_moved <= 1.7976931348623157e308)) break;");
    evaluate(r, false);
    ag_text_line(t, "for (int ad_k = 0; ad_k < %d && !(ad_norm <= ad_before); ad_k++) {", MOST_HALVINGS);
    ag_text_line(t, "for (long i = 0; i < %lld; i++) %s[i] = (%s)(0.5 * (double)(%s)[i] + 0.5 * (double)%s[i]);", r->n,
                 r->out, number, old, r->out);
    evaluate(r, false);
    ag_text_line(t, "}");
}

static void print_root(ag_c_function *f, const void *params, const char *const *from, const char *out) {
    const ag_rooting *m = params;
    const char *number = ag_c_number_type(f->p->type);
    ag_c_root r = {.f = f, .in = print_inner(f, m->step, m->fixed ? "fixed_point" : "root"), .from = from, .out = out};
    ag_text *t = &f->body;
    ag_c_literal tolerance = ag_c_literal_of(AG_F64, m->tolerance);
    r.n = in_count(&r.in, 0);
    r.step = take_room(f, r.n);
    r.residual = m->fixed ? r.step : take_room(f, r.n);
    ag_c_place old = take_room(f, m->fixed ? 0 : r.n);
    ag_text_line(t, "int ad_found = 0;");
    ag_text_line(t, m->fixed ? "double ad_moved = 0;" : "double ad_moved = 0, ad_norm = 0;");
    ag_text_line(t, "for (long i = 0; i < %lld; i++) %s[i] = %s[i];", r.n, out, from[0]);
    if (!m->fixed) evaluate(&r, false);
    ag_text_line(t, "for (long ad_step = 0; ad_step < %d && !ad_found; ad_step++) {", m->steps);
    if (m->fixed) print_fixed_point(&r, tolerance.text);
    else print_newton(&r, tolerance.text, number, old.text);
    ag_text_line(t, "}");
    ag_text_line(t, "if (!ad_found) return %d;",
                 ag_c_add_check(f->file, m->fixed ? "a fixed point: no convergence" : "a root: no convergence", ""));
}

void ag_c_nested(ag_c_function *f, const ag_pcall *call, const char *const *in, const char *out, int64_t results) {
    const void *params = ag_pparams_at(f->p, call->params);
    const ag_scanning *scan = call->operation == &ag_scan_operation ? params : NULL;
    if (scan && scan->steps == 0) print_none(f, scan->p, scan->carries, in, out, results);
    else if (scan) print_scan(f, params, in, out);
    else if (!ag_is_map(call->operation)) print_root(f, params, in, out);
    else if (ag_map_rows(params) == 0) print_none(f, ag_map_program(params), 0, in, out, results);
    else print_map(f, params, in, out);
}
