/* Instructions as statements of C. */
#include "print_impl.h"

/* Loops over the elements of a shape, adjacent axes that every operand passes through alike made one. */
typedef struct ag_c_loops {
    int rank;
    int64_t dim[AG_MAX_RANK];
    int from[AG_MAX_RANK]; /* the last axis of the shape that a loop stands for */
} ag_c_loops;

/* What an expression is in. */
typedef struct ag_c_context {
    ag_c_function *f;
    ag_text *text;
    const ag_c_loops *loops; /* NULL: outside of loops */
    int shape_rank;
} ag_c_context;

static const char *loop_name(int k) {
    static const char *const names[AG_MAX_RANK] = {"i", "i1", "i2", "i3", "i4", "i5", "i6", "i7"};
    return names[k];
}
_Static_assert(AG_MAX_RANK == 8, "a name for each axis");

static bool is_scalar(const ag_program *p, uint32_t v) { return ag_code_at(p, v)->view & WHERE_ELEMENT; }

/* ---- elements ---- */

/* The names that statements mention. */
static const char *port_name(const ag_c_function *f, uint64_t k) {
    f->used[k] = 1;
    return f->ports[k];
}
static const char *output_name(const ag_c_function *f, uint64_t k) { return port_name(f, f->p->inputs.count + k); }

ag_c_place ag_c_room(ag_c_function *f, int64_t count) {
    ag_c_place place = {.at = f->s.work + f->taken};
    snprintf(place.text, sizeof place.text, "work + %lld", (long long)place.at);
    int64_t end = f->taken + (count ? count : 1); /* a place for no numbers is one, too */
    if (end > f->inner_work) f->inner_work = end;
    return place;
}

enum { TABLE_NAME = 3 * NAME_ROOM + 16 };

/* A constant array, printed before the function when it is mentioned first. */
static const char *table_name(const ag_c_function *f, uint32_t v, char name[TABLE_NAME]) {
    int64_t count = ag_value_count(f->p, v);
    snprintf(name, TABLE_NAME, "%s_c%u", f->name, v);
    if (f->declared[v]) return name;
    f->declared[v] = 1;
    ag_text *t = &f->file->functions;
    ag_text_add(t, "static const %s %s[%lld] = {", ag_c_number_type(f->p->type), name, (long long)count);
    for (int64_t i = 0; i < count; i++) {
        ag_c_literal l = ag_c_literal_of(f->p->type, *ag_pconstant_at(f->p, ag_code_at(f->p, v)->extra + (uint64_t)i));
        ag_text_add(t, "%s%s%s", i % 8 == 0 ? "\n    " : " ", l.text, i + 1 < count ? "," : "");
    }
    ag_text_add(t, "};\n\n");
    return name;
}

/* The name of the array that holds a value. */
static void put_array(const ag_c_function *f, ag_text *t, uint32_t v) {
    const ag_code *c = ag_code_at(f->p, v);
    char name[TABLE_NAME];
    switch ((ag_c_home)f->s.home[v]) {
    case HOME_INPUT: ag_text_add(t, "%s", port_name(f, c->extra)); break;
    case HOME_TABLE: ag_text_add(t, "%s", table_name(f, v, name)); break;
    case HOME_OUTPUT: ag_text_add(t, "%s", output_name(f, (uint64_t)f->s.offset[v])); break;
    default: ag_text_add(t, "v%u", v); break;
    }
}

/* Element `offset` of an input that is seen through a view. */
static int64_t seen_through(const ag_view *v, int64_t offset) {
    int64_t at = 0;
    for (int i = v->rank - 1; i >= 0; i--) {
        at += offset % v->dim[i] * v->stride[i];
        offset /= v->dim[i];
    }
    return at;
}

static void put_expression(const ag_c_context *x, uint32_t v, int binds);

/* Element `offset` of a value. */
static void put_element(const ag_c_context *x, uint32_t v, int64_t offset, int binds) {
    const ag_c_function *f = x->f;
    const ag_code *c = ag_code_at(f->p, v);
    ag_c_home home = (ag_c_home)f->s.home[v];
    if (c->op == CODE_CONSTANT) {
        ag_c_literal l = ag_c_literal_of(f->p->type, *ag_pconstant_at(f->p, c->extra + (uint64_t)offset));
        bool wrap = binds == BINDS_PRIMARY && (*l.text == '-' || *l.text == '(');
        ag_text_add(x->text, wrap ? "(%s)" : "%s", l.text);
        return;
    }
    if (home == HOME_INLINE) {
        put_expression(x, v, binds);
        return;
    }
    if (f->style == STYLE_LANES && home == HOME_INPUT) {
        for (uint32_t k = 0; k < c->extra; k++) offset += ag_where_count(f->p, ag_pinput_at(f->p, k)->ref.where);
        ag_text_add(x->text, "in[%lld + l]", (long long)offset * C_LANES);
        return;
    }
    bool plain = home == HOME_LOCAL || (home == HOME_INPUT && is_scalar(f->p, v) && f->style == STYLE_PUBLIC);
    if (home == HOME_WORK && is_scalar(f->p, v) && c->op != CODE_CALL) {
        ag_text_add(x->text, "work[%lld]", (long long)f->s.offset[v]);
        return;
    }
    if (f->style == STYLE_ELEMENTS && home == HOME_INPUT) offset = seen_through(f->views[c->extra], offset);
    put_array(f, x->text, v);
    if (!plain) ag_text_add(x->text, "[%lld]", (long long)offset);
}

/* + of index terms: i * 12 + i1 + 3 */
static void put_index(const ag_c_context *x, const ag_view *v, int64_t offset) {
    const ag_c_loops *l = x->loops;
    int lead = x->shape_rank - v->rank, terms = 0;
    for (int k = 0; k < l->rank; k++) {
        int axis = l->from[k] - lead;
        int64_t stride = axis < 0 || v->dim[axis] == 1 ? 0 : v->stride[axis];
        if (!stride) continue;
        ag_text_add(x->text, "%s%s", terms++ ? stride < 0 ? " - " : " + " : stride < 0 ? "-" : "", loop_name(k));
        if (stride != 1 && stride != -1) ag_text_add(x->text, " * %lld", (long long)(stride < 0 ? -stride : stride));
    }
    if (offset || !terms) ag_text_add(x->text, terms ? " + %lld" : "%lld", (long long)offset);
}

static void put_operand(const ag_c_context *x, ag_ref r, int binds) {
    const ag_c_function *f = x->f;
    if (ag_ref_is_uniform(f->p, r) && (!x->loops || is_scalar(f->p, r.value) || f->s.home[r.value] != HOME_INLINE)) {
        bool here = x->loops && f->s.home[r.value] == HOME_LOCAL && !is_scalar(f->p, r.value);
        if (here) put_array(f, x->text, r.value);
        else put_element(x, r.value, ag_where_offset(f->p, r.where), binds);
        return;
    }
    if (f->s.home[r.value] == HOME_INLINE) {
        put_expression(x, r.value, binds);
        return;
    }
    put_array(f, x->text, r.value);
    if (f->s.home[r.value] == HOME_LOCAL) return;
    ag_text_add(x->text, "[");
    put_index(x, &ag_pview_at(f->p, r.where)->view, ag_where_offset(f->p, r.where));
    ag_text_add(x->text, "]");
}

/* ---- expressions ---- */

static bool is_comparison(uint32_t op) {
    return op == AG_EQ || op == AG_NE || op == AG_LT || op == AG_LE || op == AG_GT || op == AG_GE;
}

/* The template up to `end` with the operands of c in it. */
static void put_template(const ag_c_context *x, const ag_code *c, const char *text, const char *end) {
    const ag_program *p = x->f->p;
    for (const char *at = text; at < end && *at;) {
        if (ag_c_token(at) == 1 && *at >= 'x' && *at <= 'z') {
            put_operand(x, *ag_ref_at(p, c->in + (uint32_t)(*at - 'x')), ag_c_binding_at(text, at));
            at++;
        } else {
            at += ag_c_translate(x->text, at, p->type);
        }
    }
}

static void put_expression(const ag_c_context *x, uint32_t v, int binds) {
    const ag_program *p = x->f->p;
    const ag_code *c = ag_code_at(p, v);
    ag_c_template t = ag_c_template_of(c->op);
    const char *from = t.text, *end = from + strlen(from);
    bool wrap = t.binds > binds;
    if (wrap) ag_text_add(x->text, "(");
    if (t.helper) {
        ag_c_helper(&x->f->file->helpers, c->op, p->type, x->f->file->helped);
        ag_text_add(x->text, "ad_%s%s(", ag_op_table[c->op].name, p->type == AG_F64 ? "" : "f");
        for (int k = 0; k < ag_op_table[c->op].arity; k++) {
            if (k) ag_text_add(x->text, ", ");
            put_operand(x, *ag_ref_at(p, c->in + (uint32_t)k), BINDS_CHOICE);
        }
        ag_text_add(x->text, ")");
    } else {
        ag_ref condition = *ag_ref_at(p, c->in);
        const ag_code *by = ag_code_at(p, condition.value);
        if (c->op == AG_SELECT && is_comparison(by->op) && x->f->s.home[condition.value] == HOME_INLINE) {
            const char *text = ag_c_template_of(by->op).text;
            put_template(x, by, text, strchr(text, '?'));
            from = strchr(from, '?');
            ag_text_add(x->text, "? ");
            put_operand(x, *ag_ref_at(p, c->in + 1), BINDS_EQUAL);
            ag_text_add(x->text, " : ");
            put_operand(x, *ag_ref_at(p, c->in + 2), BINDS_EQUAL);
        } else {
            put_template(x, c, from, end);
        }
    }
    if (wrap) ag_text_add(x->text, ")");
}

/* ---- statements ---- */

/* Makes the text of a statement one line of the body. */
static void put_line(ag_c_function *f, ag_text *line) {
    if (line->count) ag_text_line(&f->body, "%s", line->base);
    f->body.failed |= line->failed;
    ag_text_free(line);
}

/* Declares what the statements of an item write to: a variable, or a pointer into the work array. */
static void declare(ag_c_function *f, uint32_t v) {
    const char *number = ag_c_number_type(f->p->type);
    bool is_call = ag_code_at(f->p, v)->op == CODE_CALL;
    if (f->declared[v] == f->part + 1) return;
    if (f->s.home[v] == HOME_ARRAY && (is_call || !is_scalar(f->p, v)))
        ag_text_line(&f->body, "%s v%u[%lld];", number, v, (long long)ag_value_count(f->p, v));
    else if (f->s.home[v] == HOME_WORK && (is_call || !is_scalar(f->p, v)))
        ag_text_line(&f->body, "%s *const v%u = work + %lld;", number, v, (long long)f->s.offset[v]);
    else if (f->s.home[v] == HOME_EMPTY) ag_text_line(&f->body, "%s v%u[1] = {0}; /* of no elements */", number, v);
    f->declared[v] = f->part + 1;
}

/* Pointers to what an instruction, with the expressions that are part of it, reads. */
static void declare_operands(ag_c_function *f, const ag_code *c) {
    for (uint32_t k = 0, n = ag_operand_count(f->p, c); k < n; k++) {
        uint32_t v = ag_ref_at(f->p, c->in + k)->value;
        if (f->s.home[v] == HOME_INLINE) declare_operands(f, ag_code_at(f->p, v));
        else if (f->s.home[v] == HOME_WORK || f->s.home[v] == HOME_EMPTY) declare(f, v);
    }
}

static void scalar_body(ag_c_function *f, uint32_t v) {
    ag_text line = {.memory = f->body.memory};
    ag_c_context x = {f, &line, NULL, 0};
    declare_operands(f, ag_code_at(f->p, v));
    if (f->s.home[v] == HOME_WORK) ag_text_add(&line, "work[%lld] = ", (long long)f->s.offset[v]);
    else ag_text_add(&line, "const %s v%u = ", ag_c_number_type(f->p->type), v);
    put_expression(&x, v, BINDS_CHOICE);
    ag_text_add(&line, ";");
    put_line(f, &line);
}

/* Whether axis k can be one loop with axis k + 1 of the loops so far, for all that members of a loop read. */
static bool merges(const ag_c_function *f, const ag_c_item *item, const ag_view *shape, int k) {
    const ag_program *p = f->p;
    for (uint32_t m = 0; m < item->count; m++) {
        const ag_code *c = ag_code_at(p, f->s.members[item->first + m]);
        for (uint32_t j = 0, n = ag_operand_count(p, c); j < n; j++) {
            ag_ref r = *ag_ref_at(p, c->in + j);
            if (ag_ref_is_uniform(p, r)) continue;
            const ag_view *v = &ag_pview_at(p, r.where)->view;
            int outer = k - (shape->rank - v->rank), inner = outer + 1;
            int64_t so = outer < 0 || v->dim[outer] == 1 ? 0 : v->stride[outer];
            int64_t si = inner < 0 || v->dim[inner] == 1 ? 0 : v->stride[inner];
            if (so != si * shape->dim[k + 1]) return false;
        }
    }
    return true;
}

static void open_loops(ag_c_function *f, const ag_c_item *item, const ag_view *shape, ag_c_loops *l) {
    *l = (ag_c_loops){.rank = 0};
    for (int k = 0; k < shape->rank; k++) {
        if (l->rank && merges(f, item, shape, k - 1)) {
            l->dim[l->rank - 1] *= shape->dim[k];
            l->from[l->rank - 1] = k;
        } else {
            l->dim[l->rank] = shape->dim[k];
            l->from[l->rank++] = k;
        }
    }
    for (int k = 0; k < l->rank; k++)
        ag_text_line(&f->body, "for (long %s = 0; %s < %lld; %s++) {", loop_name(k), loop_name(k), (long long)l->dim[k],
                     loop_name(k));
}

static void loop_body(ag_c_function *f, const ag_c_item *item) {
    const ag_program *p = f->p;
    uint32_t shape_of = f->s.members[item->first];
    const ag_view *shape = &ag_pview_at(p, ag_code_at(p, shape_of)->view)->view;
    for (uint32_t m = 0; m < item->count; m++) {
        uint32_t v = f->s.members[item->first + m];
        if (f->s.home[v] == HOME_INLINE) continue;
        declare(f, v);
        declare_operands(f, ag_code_at(p, v));
    }
    ag_c_loops loops;
    open_loops(f, item, shape, &loops);
    for (uint32_t m = 0; m < item->count; m++) {
        uint32_t v = f->s.members[item->first + m];
        if (f->s.home[v] == HOME_INLINE) continue;
        ag_text line = {.memory = f->body.memory};
        ag_c_context x = {f, &line, &loops, shape->rank};
        if (f->s.home[v] == HOME_LOCAL) ag_text_add(&line, "const %s v%u", ag_c_number_type(p->type), v);
        else {
            put_array(f, &line, v);
            ag_text_add(&line, "[");
            put_index(&x, shape, 0);
            ag_text_add(&line, "]");
        }
        ag_text_add(&line, " = ");
        put_expression(&x, v, BINDS_CHOICE);
        ag_text_add(&line, ";");
        put_line(f, &line);
    }
    for (int k = 0; k < loops.rank; k++) ag_text_line(&f->body, "}");
}

/* ---- calls ---- */

/* A pointer to the first element that an operand sees. */
static void put_pointer(ag_c_function *f, ag_text *t, ag_ref r) {
    const ag_program *p = f->p;
    ag_c_home home = (ag_c_home)f->s.home[r.value];
    int64_t offset = ag_where_offset(p, r.where);
    if (home == HOME_LITERAL) {
        if (f->declared[r.value] != f->part + 1) {
            ag_c_literal l = ag_c_literal_of(p->type, *ag_pconstant_at(p, ag_code_at(p, r.value)->extra));
            ag_text_line(&f->body, "const %s c%u = %s;", ag_c_number_type(p->type), r.value, l.text);
            f->declared[r.value] = f->part + 1;
        }
        ag_text_add(t, "(&c%u)", r.value);
        return;
    }
    bool variable = home == HOME_LOCAL || (home == HOME_INPUT && is_scalar(p, r.value) && f->style == STYLE_PUBLIC);
    bool in_work = home == HOME_WORK && is_scalar(p, r.value) && ag_code_at(p, r.value)->op != CODE_CALL;
    if (in_work) {
        ag_text_add(t, "(work + %lld)", (long long)f->s.offset[r.value]);
        return;
    }
    if (variable) ag_text_add(t, "(&");
    else if (offset) ag_text_add(t, "(");
    put_array(f, t, r.value);
    if (offset && !variable) ag_text_add(t, " + %lld", (long long)offset);
    if (variable || offset) ag_text_add(t, ")");
}

static const ag_view one_element = {.rank = 0, .contiguous = true, .count = 1};

static const ag_view *view_of(const ag_program *p, uint32_t where) {
    return where & WHERE_ELEMENT ? &one_element : &ag_pview_at(p, where)->view;
}

/* Records one operation on inputs of the shapes of its operands. */
typedef struct ag_c_single {
    const ag_operation *operation;
    const void *params;
    size_t size;
    int n;
} ag_c_single;

static void trace_single(ag_tape *t, const ag_var *xs, ag_var *ys, void *context) {
    const ag_c_single *s = context;
    (void)t;
    ys[0] = ag_apply(s->operation, xs, s->n, s->params, s->size);
}

/* An operation without loops of its own: a function of its elements. */
static void scalar_form(ag_c_function *f, const ag_pcall *call, const ag_view *const *views, ag_text *arguments,
                        const char *out) {
    enum { MOST = 100000 };
    ag_memory *m = f->file->memory;
    const ag_program *p = f->p;
    ag_port *ports = ag_memory_zeroed(m, call->n * sizeof *ports + 1);
    if (!ports) {
        ag_c_fail(f->file, AG_ERR_MEMORY, "print: out of memory");
        return;
    }
    for (uint32_t k = 0; k < call->n; k++) ports[k].shape = ag_view_shape(views[k]);
    ag_c_single single = {call->operation, ag_pparams_at(p, call->params), call->params_size, (int)call->n};
    ag_program *whole = ag_program_trace(p->type, trace_single, &single, ports, (int)call->n, NULL, 1);
    ag_program *scalars =
        ag_program_status(whole) == AG_OK && call->operation->scalars ? ag_program_scalars(whole) : NULL;
    if (!scalars || ag_program_status(scalars) != AG_OK || ag_program_size(scalars) > MOST) {
        ag_c_fail(f->file, AG_ERR_UNSUPPORTED, "print: %s has no form in C%s%s", call->operation->name,
                  scalars ? " for tensors of this size: " : "",
                  !scalars                     ? ""
                  : ag_program_status(scalars) ? ag_program_message(scalars)
                                               : "too many scalar operations");
    } else {
        char own[NAME_ROOM], name[3 * NAME_ROOM];
        ag_c_name(own, call->operation->name, NULL, 0);
        snprintf(name, sizeof name, "%s_%s%u", f->file->name, own, ++f->file->inner);
        int64_t work = ag_c_print_function(f->file, scalars, name, STYLE_ELEMENTS, views);
        ag_text_add(arguments, "%s%s", arguments->count ? ", " : "", out);
        if (work) ag_text_add(arguments, ", %s", ag_c_room(f, work).text);
        ag_c_call(&f->body, name, arguments, ag_c_can_fail(f->file, scalars));
    }
    ag_c_forget(f->file, scalars);
    ag_program_free(scalars);
    ag_program_free(whole);
    ag_memory_free(m, ports, call->n * sizeof *ports + 1);
}

typedef struct ag_c_operands {
    ag_text text; /* the operands one after the other, each ended by a 0 byte */
    const char **in;
    const ag_view **views;
    ag_view *copies; /* row-major, of those that were copied */
} ag_c_operands;

static bool open_operands(ag_c_function *f, const ag_code *c, ag_c_operands *o) {
    const ag_pcall *call = ag_pcall_at(f->p, c->extra);
    ag_memory *m = f->file->memory;
    *o = (ag_c_operands){.text = {.memory = m}};
    o->in = ag_memory_zeroed(m, call->n * sizeof *o->in + 1);
    o->views = ag_memory_zeroed(m, call->n * sizeof *o->views + 1);
    o->copies = ag_memory_zeroed(m, call->n * sizeof *o->copies + 1);
    if (!o->in || !o->views || !o->copies) return false;
    for (uint32_t k = 0; k < call->n; k++) {
        ag_ref r = *ag_ref_at(f->p, c->in + k);
        o->views[k] = view_of(f->p, r.where);
        put_pointer(f, &o->text, r);
        ag_text_add(&o->text, "%c", '\0');
    }
    if (o->text.failed) return false;
    const char *at = o->text.base;
    for (uint32_t k = 0; k < call->n; k++, at += strlen(at) + 1) o->in[k] = at;
    return true;
}

static bool is_row_major(const ag_c_operands *o, uint32_t n) {
    for (uint32_t k = 0; k < n; k++)
        if (!o->views[k]->contiguous) return false;
    return true;
}

static void guard_body(ag_c_function *f, uint32_t v) {
    const ag_code *c = ag_code_at(f->p, v);
    const ag_guarding *g = (const ag_guarding *)(const void *)ag_pparams_at(f->p, ag_pcall_at(f->p, c->extra)->params);
    ag_text line = {.memory = f->body.memory};
    ag_c_context x = {f, &line, NULL, 0};
    declare_operands(f, c);
    if (f->s.uses[v]) {
        declare(f, v);
        put_array(f, &line, v);
        ag_text_add(&line, "[0] = ");
        put_operand(&x, *ag_ref_at(f->p, c->in), BINDS_CHOICE);
        ag_text_add(&line, ";");
        put_line(f, &line);
    }
    ag_text_add(&line, g->expected ? "if (!(" : "if (");
    put_operand(&x, *ag_ref_at(f->p, c->in), BINDS_COMPARE);
    ag_text_add(&line, g->expected ? " != 0)) return %d;" : " != 0) return %d;", ag_c_guard_check(f->file, g));
    put_line(f, &line);
}

/* Operands that are not row-major, copied to the work array. */
static bool copy_operands(ag_c_function *f, uint32_t n, ag_c_operands *o) {
    ag_text text = {.memory = f->file->memory};
    for (uint32_t k = 0; k < n; k++) {
        const ag_view *v = o->views[k];
        if (v->contiguous) {
            ag_text_add(&text, "%s%c", o->in[k], '\0');
            continue;
        }
        ag_c_place to = ag_c_room(f, v->count);
        f->taken += v->count;
        ag_c_loops loops = {.rank = v->rank};
        ag_view *row_major = &o->copies[k];
        *row_major = *v;
        ag_row_major(v->rank, v->dim, row_major->stride);
        row_major->contiguous = true;
        o->views[k] = row_major;
        for (int i = 0; i < v->rank; i++) loops.from[i] = i;
        for (int i = 0; i < v->rank; i++)
            ag_text_line(&f->body, "for (long %s = 0; %s < %lld; %s++) {", loop_name(i), loop_name(i),
                         (long long)v->dim[i], loop_name(i));
        ag_text line = {.memory = f->body.memory};
        ag_c_context x = {f, &line, &loops, v->rank};
        ag_text_add(&line, "(%s)[", to.text);
        put_index(&x, row_major, 0);
        ag_text_add(&line, "] = %s[", o->in[k]);
        put_index(&x, v, 0);
        ag_text_add(&line, "];");
        put_line(f, &line);
        for (int i = 0; i < v->rank; i++) ag_text_line(&f->body, "}");
        ag_text_add(&text, "(%s)%c", to.text, '\0');
    }
    ag_text_free(&o->text);
    o->text = text;
    if (text.failed) return false;
    const char *at = text.base;
    for (uint32_t k = 0; k < n; k++, at += strlen(at) + 1) o->in[k] = at;
    return true;
}

/* Operands and a result that the statements behind `from` do not mention: there may be none that uses them. */
static void ignore_unused(ag_c_function *f, uint32_t n, const ag_c_operands *o, const char *out, size_t from) {
    size_t last = from; /* often they come in their order */
    for (uint32_t k = 0; k <= n && !f->body.failed; k++) {
        const char *text = k < n ? o->in[k] : out, *base = f->body.base, *at = text, *name;
        size_t length = ag_c_identifier(&at, &name);
        const char *found = ag_c_mention(base + last, name, length);
        if (!found) found = ag_c_mention(base + from, name, length);
        if (found) last = (size_t)(found - base);
        else ag_text_line(&f->body, "(void)%s;", text);
    }
}

static void call_body(ag_c_function *f, uint32_t v) {
    const ag_program *p = f->p;
    const ag_code *c = ag_code_at(p, v);
    if (ag_is_guard(p, c)) {
        guard_body(f, v);
        return;
    }
    const ag_pcall *call = ag_pcall_at(p, c->extra);
    ag_c_operands o;
    ag_text out = {.memory = f->body.memory}, arguments = {.memory = f->body.memory};
    f->taken = 0;
    declare(f, v);
    declare_operands(f, c);
    bool ok = open_operands(f, c, &o);
    put_array(f, &out, v);
    for (uint32_t k = 0; ok && k < call->n; k++)
        if (o.views[k]->count) ag_text_add(&arguments, arguments.count ? ", %s" : "%s", o.in[k]);
    if (!ok || out.failed || arguments.failed) ag_c_fail(f->file, AG_ERR_MEMORY, "print: out of memory");
    else {
        struct ag_c_form_state state = {f};
        ag_c_form form = {.type = p->type,
                          .number = ag_c_number_type(p->type),
                          .suffix = p->type == AG_F64 ? "" : "f",
                          .n = (int)call->n,
                          .in = o.in,
                          .views = o.views,
                          .out = out.base,
                          .shape = ag_where_shape(p, c->view),
                          .params = ag_pparams_at(p, call->params),
                          .params_size = call->params_size,
                          .blas = f->file->options.blas,
                          .state = &state};
        bool fits = call->operation->strided || is_row_major(&o, call->n), nested = ag_holds_programs(call->operation);
        size_t from = f->body.count;
        ag_text_line(&f->body, "{ /* %s */", strpbrk(call->operation->name, "*/\\\n") ? "" : call->operation->name);
        f->body.depth++;
        if (!fits && (nested || call->operation->c_form)) fits = copy_operands(f, call->n, &o);
        if (nested && fits) ag_c_nested(f, call, o.in, out.base, ag_value_count(p, v));
        else if (!call->operation->c_form || !fits || !call->operation->c_form(&form))
            scalar_form(f, call, o.views, &arguments, out.base);
        ignore_unused(f, call->n, &o, out.base, from);
        ag_text_line(&f->body, "}");
    }
    ag_text_free(&arguments);
    ag_text_free(&out);
    ag_text_free(&o.text);
    ag_memory_free(f->file->memory, o.in, call->n * sizeof *o.in + 1);
    ag_memory_free(f->file->memory, o.views, call->n * sizeof *o.views + 1);
    ag_memory_free(f->file->memory, o.copies, call->n * sizeof *o.copies + 1);
}

/* ---- outputs ---- */

static void output_body(ag_c_function *f, uint32_t k) {
    const ag_program *p = f->p;
    ag_ref r = ag_poutput_at(p, k)->ref;
    const ag_view *v = view_of(p, r.where);
    bool elements = f->style == STYLE_ELEMENTS;
    if (f->s.home[r.value] == HOME_OUTPUT && f->s.offset[r.value] == k && !elements) return;
    if (v->count == 0) return;
    if (f->s.home[r.value] == HOME_WORK) declare(f, r.value);
    if (f->s.home[r.value] == HOME_INLINE) declare_operands(f, ag_code_at(p, r.value));
    ag_c_loops loops = {.rank = v->rank};
    for (int i = 0; i < v->rank; i++) {
        loops.dim[i] = v->dim[i];
        loops.from[i] = i;
        ag_text_line(&f->body, "for (long %s = 0; %s < %lld; %s++) {", loop_name(i), loop_name(i), (long long)v->dim[i],
                     loop_name(i));
    }
    ag_text line = {.memory = f->body.memory};
    ag_c_context x = {f, &line, v->rank ? &loops : NULL, v->rank};
    ag_view row_major = *v;
    ag_row_major(v->rank, v->dim, row_major.stride);
    bool lanes = f->style == STYLE_LANES;
    ag_text_add(&line, "%s[", elements || lanes ? "out" : output_name(f, k));
    if (lanes) ag_text_add(&line, "%lld + l", (long long)k * C_LANES);
    else if (elements) ag_text_add(&line, "%u", k);
    else if (v->rank) put_index(&x, &row_major, 0);
    else ag_text_add(&line, "0");
    ag_text_add(&line, "] = ");
    put_operand(&x, r, BINDS_CHOICE);
    ag_text_add(&line, ";");
    put_line(f, &line);
    for (int i = 0; i < v->rank; i++) ag_text_line(&f->body, "}");
}

void ag_c_item_body(ag_c_function *f, const ag_c_item *item) {
    switch (item->kind) {
    case ITEM_SCALAR: scalar_body(f, f->s.members[item->first]); break;
    case ITEM_LOOP: loop_body(f, item); break;
    case ITEM_CALL: call_body(f, f->s.members[item->first]); break;
    case ITEM_OUTPUT: output_body(f, item->first); break;
    }
}
