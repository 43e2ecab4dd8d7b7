/* Seeing a tape: names, the graph in Graphviz's language, a summary. */
#include "../support/locale_impl.h"
#include "tape_impl.h"

/* ---- names ---- */

static const ag_label *labels_of(const ag_tape *t) { return (const ag_label *)(void *)t->labels.base; }

void ag_name(ag_var x, const char *name) {
    ag_operand o;
    ag_tape *t = ag_tape_of(x);
    if (!t || t->status != AG_OK || !name || !ag_resolve(t, "name", x, &o)) return;
    size_t size = strlen(name) + 1;
    const size_t most = UINT32_MAX;
    bool ok = ag_range_grow(&t->memory, &t->texts, t->text_top + size, most) &&
              ag_range_grow(&t->memory, &t->labels, (t->label_count + (size_t)1) * sizeof(ag_label), most);
    if (!ok) {
        ag_out_of_memory(t, "name", size);
        return;
    }
    memcpy(t->texts.base + t->text_top, name, size);
    ((ag_label *)(void *)t->labels.base)[t->label_count++] = (ag_label){o.slot, o.view, t->text_top};
    t->text_top += (uint32_t)size;
}

const char *ag_name_of(const ag_tape *t, uint32_t slot) {
    for (uint32_t i = t->label_count; i-- > 0;)
        if (labels_of(t)[i].slot == slot) return t->texts.base + labels_of(t)[i].text;
    return NULL;
}

/* ---- graph ---- */

typedef struct ag_drawing {
    ag_tape *t;
    FILE *out;
} ag_drawing;

static void put_escaped(FILE *out, const char *text) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', out);
        fputc((unsigned char)*text < 32 ? ' ' : *text, out);
    }
}

enum { SHOWN = 4 }; /* elements of a tensor */

static void put_elements(ag_drawing *d, const ag_view *v, const void *data) {
    for (int64_t i = 0; i < v->count && i < SHOWN; i++)
        fprintf(d->out, "%s%.6g", i ? ", " : "", ag_load(d->t->type, data, i));
    if (v->count > SHOWN) fputs(", ...", d->out);
}

/* A node of the graph: name or operation, shape, value, adjoint. */
static void put_vertex(ag_drawing *d, uint32_t slot, uint32_t view, const char *what, const char *style) {
    const ag_tape *t = d->t;
    const ag_view *v = ag_view_at(t, view);
    const char *name = ag_name_of(t, slot);
    fprintf(d->out, "  s%u [%s label=\"", slot, style);
    if (name) put_escaped(d->out, name);
    if (name && *what) fputs(" = ", d->out);
    put_escaped(d->out, what);
    if (name || *what) fputs("\\n", d->out);
    if (v->rank) fprintf(d->out, "%s\\n", ag_show_view(v).text);
    put_elements(d, v, ag_value_at(t, slot));
    const ag_base *base = ag_base_of(t, slot);
    if (!v->constant && slot + (uint64_t)v->count <= t->swept_top &&
        (!base || (base->epoch == t->epoch && base->adjoint != ag_forgotten))) {
        fputs("\\nadjoint ", d->out);
        put_elements(d, v, ag_adjoint_in(t, base, slot));
    }
    fputs("\"];\n", d->out);
}

/* The vertex that a slot is part of: a base is drawn at its first slot. */
static uint32_t vertex_of(const ag_tape *t, uint32_t slot) {
    const ag_base *base = ag_base_of(t, slot);
    return base ? base->start : slot;
}

static void put_edge(ag_drawing *d, ag_operand from, uint32_t to) {
    uint32_t vertex = vertex_of(d->t, from.slot);
    fprintf(d->out, "  s%u -> s%u", vertex, to);
    const ag_base *base = ag_base_of(d->t, from.slot);
    const ag_view *v = ag_view_at(d->t, from.view);
    if (base && (from.slot != base->start || !v->contiguous || v->count != base->count)) {
        if (v->rank) fprintf(d->out, " [label=\"%s\"]", ag_show_view(v).text);
        else fprintf(d->out, " [label=\"[%u]\"]", from.slot - base->start);
    }
    fputs(";\n", d->out);
}

static void put_leaf(ag_drawing *d, uint32_t slot, uint32_t view) {
    bool constant = ag_is_constant_view(d->t, view);
    put_vertex(d, slot, view, "", constant ? "shape=box color=gray" : "shape=box style=filled fillcolor=\"#dbeafe\"");
}

/* Scalar constants have no instruction: they are the slots behind one. */
static void put_constants(ag_drawing *d, uint32_t from, uint32_t to) {
    for (uint32_t s = from; s < to; s++) put_leaf(d, s, VIEW_CONSTANT);
}

static void put_number(ag_drawing *d, double number, uint32_t to) {
    fprintf(d->out, "  n%u [shape=box color=gray label=\"%.6g\"];\n  n%u -> s%u;\n", to, number, to, to);
}

static void put_instruction(ag_drawing *d, const ag_instruction_ *i, uint32_t slot) {
    ag_tape *t = d->t;
    uint32_t op = ag_op_of(i);
    if (op == OP_LEAF) {
        if (i->a < SCALAR_INPUT) put_leaf(d, slot, ag_bases(t)[i->a].view);
        else if (i->a == SCALAR_INPUT) put_leaf(d, slot, VIEW_SCALAR);
        return;
    }
    if (op < OP_NODE) {
        uint32_t in[3];
        double number;
        int n = ag_scalar_operands(i, in, &number);
        put_vertex(d, slot, VIEW_SCALAR, ag_op_table[op].name, "shape=ellipse");
        for (int k = 0; k < n; k++) {
            if (in[k] != NOTHING) put_edge(d, (ag_operand){in[k], VIEW_SCALAR}, slot);
            else put_number(d, number, slot);
        }
        return;
    }
    const ag_node *node = ag_node_at(t, i->a);
    put_vertex(d, slot, node->view, node->operation ? node->operation->name : ag_op_table[node->code].name,
               "shape=ellipse peripheries=2");
    for (uint32_t k = 0; k < node->n; k++) put_edge(d, node->in[k], slot);
}

static void draw(ag_tape *t, FILE *out) {
    ag_drawing d = {t, out};
    fputs("digraph tape {\n  rankdir=LR;\n  node [fontname=\"sans-serif\" fontsize=11];\n", out);
    uint32_t slot = ag_instructions(t)[0].b;
    for (const ag_instruction_ *i = ag_instructions(t); i < t->head.next; i++) {
        if (ag_op_of(i) >= OP_NODE) slot = i->b;
        put_instruction(&d, i, slot);
        uint32_t next = ag_next_slot(t, i, slot);
        put_constants(&d, next - ag_constants_after(i), next);
        slot = next;
    }
    fputs("}\n", out);
}

bool ag_dot(ag_tape *t, FILE *out) {
    if (!t || !t->section_count || !out) return false;
    ag_locale locale = ag_locale_enter();
    draw(t, out);
    ag_locale_leave(locale);
    return !ferror(out);
}

/* ---- summary ---- */

static const char *operation_name(const ag_tape *t, const ag_instruction_ *i) {
    uint32_t op = ag_op_of(i);
    if (op < OP_NODE) return ag_op_table[op].name;
    const ag_node *node = ag_node_at(t, i->a);
    return node->operation ? node->operation->name : ag_op_table[node->code].name;
}

typedef struct ag_kind {
    const char *name;
    bool tensor;
    uint64_t count, slots;
} ag_kind;

typedef struct ag_kinds {
    ag_kind *list;
    size_t count, capacity;
} ag_kinds;

/* The entry of a name, made if need be; NULL if memory is refused. */
static ag_kind *kind_of(ag_tape *t, ag_kinds *k, const char *name, bool tensor) {
    for (size_t i = 0; i < k->count; i++)
        if (k->list[i].tensor == tensor && strcmp(k->list[i].name, name) == 0) return &k->list[i];
    if (k->count == k->capacity) {
        size_t more = k->capacity ? 2 * k->capacity : 32;
        ag_kind *list = ag_memory_resize(&t->memory, k->list, k->capacity * sizeof *list, more * sizeof *list);
        if (!list) return NULL;
        k->list = list;
        k->capacity = more;
    }
    k->list[k->count] = (ag_kind){.name = name, .tensor = tensor};
    return &k->list[k->count++];
}

static bool count_instruction(ag_tape *t, ag_kinds *kinds, const ag_instruction_ *i) {
    bool tensor = ag_op_of(i) == OP_NODE;
    ag_kind *kind = kind_of(t, kinds, operation_name(t, i), tensor);
    if (!kind) return ag_out_of_memory(t, "summary", sizeof *kind);
    kind->count++;
    kind->slots += tensor ? ag_bases(t)[ag_node_at(t, i->a)->base].count : 1;
    return true;
}

void ag_tape_summary(ag_tape *t, FILE *out) {
    if (!t || !t->section_count || !out) return;
    ag_kinds kinds = {0};
    for (const ag_instruction_ *i = ag_instructions(t); i < t->head.next; i++)
        if (ag_op_of(i) != OP_LEAF && !count_instruction(t, &kinds, i)) break;
    ag_stats s = ag_tape_stats(t);
    fprintf(out, "%-24s %12s %14s\n", "operation", "instructions", "slots");
    for (size_t k = 0; k < kinds.count; k++)
        fprintf(out, "%-17s %-6s %12llu %14llu\n", kinds.list[k].name, kinds.list[k].tensor ? "tensor" : "",
                (unsigned long long)kinds.list[k].count, (unsigned long long)kinds.list[k].slots);
    ag_memory_free(&t->memory, kinds.list, kinds.capacity * sizeof *kinds.list);
    fprintf(out, "%-24s %12llu %14llu\n", "all, with leaves",
            (unsigned long long)(s.scalar_instructions + s.tensor_instructions), (unsigned long long)s.slots);
    fprintf(out, "bytes: %llu instructions, %llu values, %llu adjoints; %llu held\n",
            (unsigned long long)s.instruction_bytes, (unsigned long long)s.value_bytes,
            (unsigned long long)s.adjoint_bytes, (unsigned long long)s.held_bytes);
    if (t->status != AG_OK) fprintf(out, "error: %s\n", t->message);
}
