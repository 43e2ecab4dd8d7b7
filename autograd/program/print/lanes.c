/* Many rows: a function for a block of them, whose loop over lanes holds nothing but scalars, so that compilers vectorise it;
 * and the function that takes rows, block by block. */
#include "../../ops/vector_maths_impl.h"
#include "print_impl.h"

enum {
    MOST_STATEMENTS = 1000, /* of the loop */
    MOST_NUMBERS = 4096,    /* of inputs and outputs, of a row */
    MOST_BYTES = 1 << 24    /* to find out */
};

static int64_t count_ports(const ag_program *p, bool outputs) {
    int64_t n = 0;
    for (uint64_t k = 0; k < (outputs ? p->outputs.count : p->inputs.count); k++)
        n += ag_where_count(p, (outputs ? ag_poutput_at(p, k) : ag_pinput_at(p, k))->ref.where);
    return n;
}

/* chain without a branch, which becomes two instructions in a vector; gcc does not vectorise what is left of many selections,
 * one inside the other. In scalar code, which can predict the branch, this would be slower. */
static void define_lane_chain(ag_text *t, ag_type type) {
    bool f64 = type == AG_F64;
    const char *number = ag_c_number_type(type), *bits = f64 ? "long long" : "int", *suffix = f64 ? "" : "f";
    ag_text_line(t, "#ifndef AD_HAS_LANE_CHAIN%s", f64 ? "" : "F");
    ag_text_line(t, "#define AD_HAS_LANE_CHAIN%s", f64 ? "" : "F");
    ag_text_line(t, "static inline %s ad_lane_chain%s(%s x, %s y) {", number, suffix, number, number);
    ag_text_line(t, "union { %s number; %s bits; } product = {x * y};", number, bits);
    ag_text_line(t, "product.bits &= -(%s)((x != 0) & (y != 0));", bits);
    ag_text_line(t, "return product.number;");
    ag_text_line(t, "}");
    ag_text_line(t, "#endif");
    ag_text_line(t, "#define ad_chain%s(x, y) ad_lane_chain%s(x, y)", suffix, suffix);
}

static void put_lanes(ag_c_function *f, const char *name) {
    const char *number = ag_c_number_type(f->p->type);
    f->body.depth = 2;
    for (uint32_t i = 0; i < f->s.item_count && f->file->status == AG_OK; i++) ag_c_item_body(f, &f->s.items[i]);
    ag_text *t = &f->file->functions;
    bool chains = f->body.base && strstr(f->body.base, "ad_chain");
    if (chains) define_lane_chain(t, f->p->type);
    ag_text_line(t,
                 "/* Of %d rows. Element i of the inputs, one after the other, is in[i * %d + row]; of outputs too. */",
                 C_LANES, C_LANES);
    ag_text_line(t, "static void %s_lanes(const %s *restrict in, %s *restrict out) {", name, number, number);
    ag_text_line(t, "(void)in;");
    ag_text_line(t, "for (long l = 0; l < %d; l++) {", C_LANES);
    ag_text_add(t, "%s", f->body.base ? f->body.base : "");
    ag_text_line(t, "}");
    ag_text_line(t, "}");
    if (chains) ag_text_line(t, "#undef ad_chain%s", f->p->type == AG_F64 ? "" : "f");
    ag_text_line(t, "%s", "");
    t->failed |= f->body.failed;
}

void ag_c_print_lanes(ag_c_file *file, const ag_program *p, const char *name) {
    int64_t in = count_ports(p, false), out = count_ports(p, true);
    if (file->status != AG_OK || in + out > MOST_NUMBERS || out == 0 || ag_c_can_fail(file, p)) return;
    ag_program *q = ag_program_row_scalars(p, NULL, MOST_BYTES);
    ag_c_function f;
    if (ag_program_status(q) == AG_OK) {
        bool fits = ag_c_open_function(&f, file, q, name, STYLE_LANES, NULL);
        if (fits && f.s.parts == 1 && f.s.item_count <= MOST_STATEMENTS) {
            put_lanes(&f, name);
            file->lanes_in = in;
            file->lanes_out = out;
        }
        ag_c_close_function(&f);
    } else if (ag_program_status(q) == AG_ERR_MEMORY && p->memory.permit) {
        ag_c_fail(file, AG_ERR_MEMORY, "print: out of memory");
    }
    ag_program_free(q);
}

/* ---- vector maths ---- */

/* gcc makes one call of sin and cos of the same number, which has no vector version: they get another name. */
static bool is_fused(const char *name) { return strcmp(name, "sin") == 0 || strcmp(name, "cos") == 0; }

void ag_c_end_vector_maths(const ag_c_file *file, ag_text *t) {
    const char *suffix = file->type == AG_F64 ? "" : "f";
    if (file->lanes_out) ag_text_line(t, "#undef sin%s\n#undef cos%s", suffix, suffix);
}

void ag_c_declare_vector_maths(const ag_c_file *file, ag_text *t) {
    static const struct {
        const char *name;
        int arity;
    } all[] = {
#define AG_X_(name) {#name, 1},
        AG_VECTOR_MATHS1(AG_X_)
#undef AG_X_
#define AG_X_(name) {#name, 2},
            AG_VECTOR_MATHS2(AG_X_)
#undef AG_X_
    };
    const char *number = ag_c_number_type(file->type), *suffix = file->type == AG_F64 ? "" : "f";
    bool open = false;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        char call[32];
        snprintf(call, sizeof call, "%s%s(", all[k].name, suffix);
        if (!(file->functions.base && strstr(file->functions.base, call)) &&
            !(file->helpers.base && strstr(file->helpers.base, call)))
            continue;
        if (!open)
            ag_text_line(t, "#if defined __GNUC__ && !defined __clang__ && defined __x86_64__ && defined __GLIBC__");
        if (!open) ag_text_line(t, "#if __GLIBC_PREREQ(2, 35) /* gcc may call these in vectors */");
        open = true;
        const char *simd = "__attribute__((simd(\"notinbranch\"), const, nothrow))";
        if (all[k].arity == 2) {
            ag_text_line(t, "%s %s %s%s(%s, %s);", simd, number, all[k].name, suffix, number, number);
        } else if (is_fused(all[k].name)) {
            ag_text_line(t, "%s %s ad_vector_%s%s(%s) __asm__(\"%s%s\");", simd, number, all[k].name, suffix, number,
                         all[k].name, suffix);
            ag_text_line(t, "#define %s%s(x) ad_vector_%s%s(x)", all[k].name, suffix, all[k].name, suffix);
        } else {
            ag_text_line(t, "%s %s %s%s(%s);", simd, number, all[k].name, suffix, number);
        }
    }
    if (open) ag_text_line(t, "#endif\n#endif\n");
}

/* ---- rows ---- */

static void put_rows_head(const ag_c_function *f, ag_text *t, int64_t work) {
    const ag_program *p = f->p;
    const char *number = ag_c_number_type(p->type);
    bool can_fail = ag_c_can_fail(f->file, p);
    ag_text_line(t, "/* The same for each row. NAME_step: from an input's row to its next; 0: one for all.%s */",
                 can_fail ? "\n * Returns 0, or k if something went wrong at row k - 1: it is the last that was run."
                          : "");
    ag_text_add(t, "%s %s_rows(long rows", can_fail ? "long" : "void", f->name);
    for (uint64_t k = 0; k < ag_c_ports(f); k++) {
        bool in = k < p->inputs.count;
        ag_text_add(t, k % 3 == 0 ? ",\n        " : ", ");
        ag_text_add(t, in ? "const %s *%s" : "%s *restrict %s", number, f->ports[k]);
        if (in) ag_text_add(t, ", long %s_step", f->ports[k]);
    }
    if (work) ag_text_add(t, ", %s *restrict work", number);
    ag_text_add(t, ") {\n");
    t->depth++;
}

/* Row by row. */
static void put_each_row(const ag_c_function *f, ag_text *t, int64_t work) {
    const ag_program *p = f->p;
    bool can_fail = ag_c_can_fail(f->file, p);
    ag_text_line(t, "for (long row = 0; row < rows; row++) {");
    ag_text call = {.memory = t->memory};
    for (uint64_t k = 0; k < ag_c_ports(f); k++) {
        if (k) ag_text_add(&call, ", ");
        if (k >= p->inputs.count) {
            uint64_t o = k - p->inputs.count;
            ag_text_add(&call, "%s + row * %lld", f->ports[k],
                        (long long)ag_where_count(p, ag_poutput_at(p, o)->ref.where));
        } else {
            ag_text_add(&call, ag_c_by_value(f, k) ? "%s[row * %s_step]" : "%s + row * %s_step", f->ports[k],
                        f->ports[k]);
        }
    }
    if (work) ag_text_add(&call, ag_c_ports(f) ? ", work" : "work");
    ag_text_line(t, can_fail ? "if (%s(%s)) return row + 1;" : "%s(%s);", f->name, call.base ? call.base : "");
    t->failed |= call.failed;
    ag_text_free(&call);
    ag_text_line(t, "}");
    if (can_fail) ag_text_line(t, "return 0;");
}

static const char *port(const ag_c_function *f, uint64_t k) { return f->ports[k]; }

/* In blocks; of the last one, lanes without a row have the last row. */
static void put_blocks(const ag_c_function *f, ag_text *t, int64_t work) {
    const ag_program *p = f->p;
    const char *number = ag_c_number_type(p->type);
    long long at = 0, in = f->file->lanes_in, out = f->file->lanes_out;
    if (work) ag_text_line(t, "(void)work;");
    ag_text_line(t, "%s ad_in[%lld], ad_out[%lld];", number, (in ? in : 1) * C_LANES, out * C_LANES);
    ag_text_line(t, "for (long row = 0; row < rows; row += %d) {", C_LANES);
    ag_text_line(t, "const long ad_n = rows - row < %d ? rows - row : %d;", C_LANES, C_LANES);
    for (uint64_t k = 0; k < p->inputs.count; k++) {
        long long count = ag_where_count(p, ag_pinput_at(p, k)->ref.where);
        ag_text_line(t, "for (long l = 0; l < %d && (row == 0 || %s_step); l++) {", C_LANES, port(f, k));
        ag_text_line(t, "const %s *ad_row = %s + (row + (l < ad_n ? l : ad_n - 1)) * %s_step;", number, port(f, k),
                     port(f, k));
        ag_text_line(t, "for (long i = 0; i < %lld; i++) ad_in[(%lld + i) * %d + l] = ad_row[i];", count, at, C_LANES);
        ag_text_line(t, "}");
        at += count;
    }
    ag_text_line(t, "%s_lanes(ad_in, ad_out);", f->name);
    at = 0;
    for (uint64_t k = 0; k < p->outputs.count; k++) {
        long long count = ag_where_count(p, ag_poutput_at(p, k)->ref.where);
        ag_text_line(t, "for (long l = 0; l < ad_n; l++) {");
        ag_text_line(t, "for (long i = 0; i < %lld; i++) %s[(row + l) * %lld + i] = ad_out[(%lld + i) * %d + l];",
                     count, port(f, p->inputs.count + k), count, at, C_LANES);
        ag_text_line(t, "}");
        at += count;
    }
    ag_text_line(t, "}");
}

void ag_c_print_rows(const ag_c_function *f, ag_text *t, int64_t work) {
    put_rows_head(f, t, work);
    if (f->file->lanes_out) put_blocks(f, t, work);
    else put_each_row(f, t, work);
    ag_text_line(t, "}");
}
