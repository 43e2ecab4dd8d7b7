/* A program as C functions. */
#include "print_impl.h"
#include "../../support/locale_impl.h"

#include <stdarg.h>

void ag_c_fail(ag_c_file *f, ag_status status, const char *format, ...) {
    if (f->status != AG_OK) return;
    f->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(f->message, sizeof f->message, format, args);
    va_end(args);
}

/* ---- arguments ---- */

static void name_ports(ag_c_function *f) {
    const ag_program *p = f->p;
    for (uint64_t k = 0; k < p->inputs.count; k++)
        ag_c_name(f->ports[k], ag_name_at(p, ag_pinput_at(p, k)->name), f->ports, k);
    for (uint64_t k = 0; k < p->outputs.count; k++) {
        uint64_t at = p->inputs.count + k;
        if (f->style == STYLE_ELEMENTS) snprintf(f->ports[at], NAME_ROOM, "out");
        else ag_c_name(f->ports[at], ag_name_at(p, ag_poutput_at(p, k)->name), f->ports, at);
    }
}

bool ag_c_by_value(const ag_c_function *f, uint64_t k) {
    return f->style == STYLE_PUBLIC && k < f->p->inputs.count && ag_pinput_at(f->p, k)->ref.where & WHERE_ELEMENT;
}

static int64_t port_count(const ag_c_function *f, uint64_t k) {
    uint64_t inputs = f->p->inputs.count;
    return ag_where_count(f->p, (k < inputs ? ag_pinput_at(f->p, k) : ag_poutput_at(f->p, k - inputs))->ref.where);
}

/* Ports, before `work`: outputs that are elements of one array are one. */
static uint64_t argument_count(const ag_c_function *f) {
    return f->style == STYLE_ELEMENTS ? f->p->inputs.count + 1 : ag_c_ports(f);
}

/* NULL: it is no argument, as it has no elements. */
static const char *argument_name(const ag_c_function *f, uint64_t k) {
    if (f->style == STYLE_ELEMENTS && k == f->p->inputs.count) return "out";
    return f->style == STYLE_PUBLIC || port_count(f, k) ? f->ports[k] : NULL;
}

static void put_arguments(const ag_c_function *f, ag_text *t, bool types, bool work) {
    const char *number = ag_c_number_type(f->p->type);
    uint64_t n = 0, per_line = types ? 4 : 8;
    for (uint64_t k = 0; k < argument_count(f); k++) {
        const char *name = argument_name(f, k);
        if (!name) continue;
        if (n) ag_text_add(t, n % per_line == 0 ? ",\n        " : ", ");
        if (types && ag_c_by_value(f, k)) ag_text_add(t, "%s ", number);
        else if (types) ag_text_add(t, k < f->p->inputs.count ? "const %s *" : "%s *restrict ", number);
        ag_text_add(t, "%s", name);
        n++;
    }
    if (work) ag_text_add(t, types ? "%s%s *restrict work" : "%swork", n ? ", " : "", number);
    if (types && n == 0 && !work) ag_text_add(t, "void");
}

/* Arguments that no statement of this part mentions. */
static void ignore_unused(const ag_c_function *f, ag_text *t, const ag_text *body, bool work) {
    for (uint64_t k = 0; k < argument_count(f); k++) {
        const char *name = argument_name(f, k);
        bool out = f->style == STYLE_ELEMENTS && k == f->p->inputs.count;
        if (name && !(out ? ag_c_mention(body->base, "out", 3) != NULL : f->used[k]))
            ag_text_line(t, "(void)%s;", name);
    }
    if (work && !ag_c_mention(body->base, "work", 4)) ag_text_line(t, "(void)work;");
}

/* ---- functions ---- */

static void put_function(ag_c_function *f, ag_text *t, const char *storage, const char *name, const ag_text *body,
                         bool work) {
    bool can_fail = ag_c_can_fail(f->file, f->p);
    ag_text_add(t, "%s%s %s(", storage, can_fail ? "int" : "void", name);
    put_arguments(f, t, true, work);
    ag_text_add(t, ") {\n");
    t->depth++;
    ignore_unused(f, t, body, work);
    ag_text_add(t, "%s", body->base ? body->base : "");
    if (can_fail) ag_text_line(t, "return 0;");
    ag_text_line(t, "}");
    ag_text_line(t, "%s", "");
    t->failed |= body->failed;
}

/* The statements, and functions for parts if there are several; what is left to do in f->body. */
static void write_parts(ag_c_function *f) {
    ag_text calls = {.memory = f->file->memory, .depth = 1};
    for (uint32_t i = 0; i < f->s.item_count && f->file->status == AG_OK; i++) {
        f->part = i / f->s.per_part;
        ag_c_item_body(f, &f->s.items[i]);
        bool last = i + 1 == f->s.item_count || (i + 1) / f->s.per_part != f->part;
        if (f->s.parts == 1 || !last) continue;
        char name[3 * NAME_ROOM + 16];
        snprintf(name, sizeof name, "%s_part%u", f->name, f->part + 1);
        put_function(f, &f->file->functions, "static ", name, &f->body, true);
        ag_text_free(&f->body);
        f->body.depth = 1;
        memset(f->used, 0, ag_c_ports(f));
        ag_text line = {.memory = f->file->memory};
        put_arguments(f, &line, false, true);
        ag_c_call(&calls, name, &line, ag_c_can_fail(f->file, f->p));
        ag_text_free(&line);
    }
    if (f->s.parts > 1) {
        ag_text_free(&f->body);
        f->body = calls;
        memset(f->used, 1, ag_c_ports(f)); /* handed on */
    } else {
        ag_text_free(&calls);
    }
}

bool ag_c_open_function(ag_c_function *f, ag_c_file *file, const ag_program *p, const char *name, ag_c_style style,
                        const ag_view *const *views) {
    *f = (ag_c_function){.file = file, .p = p, .name = name, .style = style, .views = views};
    f->body = (ag_text){.memory = file->memory, .depth = 1};
    bool fits = ag_c_schedule_open(&f->s, p, file->memory, style == STYLE_ELEMENTS || style == STYLE_LANES);
    f->ports = ag_memory_zeroed(file->memory, ag_c_ports(f) * sizeof *f->ports + 1);
    f->declared = ag_memory_zeroed(file->memory, p->codes.count * sizeof *f->declared + 1);
    f->used = ag_memory_zeroed(file->memory, ag_c_ports(f) + 1);
    if (fits && f->ports && f->declared && f->used) return true;
    ag_c_fail(file, AG_ERR_MEMORY, "print: out of memory");
    return false;
}

void ag_c_close_function(ag_c_function *f) {
    ag_memory_free(f->file->memory, f->used, ag_c_ports(f) + 1);
    ag_memory_free(f->file->memory, f->declared, f->p->codes.count * sizeof *f->declared + 1);
    ag_memory_free(f->file->memory, f->ports, ag_c_ports(f) * sizeof *f->ports + 1);
    ag_c_schedule_close(&f->s);
    ag_text_free(&f->body);
}

/* Everything but the function's own head; its need of a work array. */
static int64_t write_function(ag_c_function *f) {
    name_ports(f);
    write_parts(f);
    int64_t work = f->s.work + f->inner_work;
    return work == 0 && f->s.parts > 1 ? 1 : work;
}

enum { DEEPEST = 30 }; /* maps in maps */

int64_t ag_c_print_function(ag_c_file *file, const ag_program *p, const char *name, ag_c_style style,
                            const ag_view *const *views) {
    ag_c_function f;
    int64_t work = 0;
    if (++file->depth > DEEPEST)
        ag_c_fail(file, AG_ERR_UNSUPPORTED, "print: programs inside programs, more than %d deep", DEEPEST);
    if (file->status == AG_OK) {
        if (ag_c_open_function(&f, file, p, name, style, views)) {
            work = write_function(&f);
            put_function(&f, &file->functions, "static ", name, &f.body, work > 0);
        }
        ag_c_close_function(&f);
    }
    file->depth--;
    return work;
}

/* ---- the file ---- */

/* Ends a port's line with its name in the program, where it is called otherwise in C. */
static void say_name(const ag_c_function *f, ag_text *t, uint64_t k) {
    const ag_program *p = f->p;
    bool in = k < p->inputs.count;
    const char *name = ag_name_at(p, (in ? ag_pinput_at(p, k) : ag_poutput_at(p, k - p->inputs.count))->name);
    char shown[NAME_ROOM];
    ag_c_comment_name(shown, name);
    if (name[0] && strcmp(name, f->ports[k]) != 0) ag_text_line(t, ": %s", shown);
    else ag_text_line(t, "%s", "");
}

static void describe(const ag_c_function *f, ag_text *t, int64_t work) {
    const ag_program *p = f->p;
    const char *number = ag_c_number_type(p->type);
    ag_text_line(t, "/* %s: %lld operations.", f->name, (long long)ag_program_size(p));
    for (uint64_t k = 0; k < ag_c_ports(f); k++) {
        bool in = k < p->inputs.count;
        ag_shape shape =
            in ? ag_program_input(p, (int)k).shape : ag_program_output(p, (int)(k - p->inputs.count)).shape;
        int64_t count = 1;
        ag_shape_count(shape, &count);
        if (ag_c_by_value(f, k)) ag_text_add(t, " *   %-8s in: a number", f->ports[k]);
        else if (shape.rank == 0) ag_text_add(t, " *   %-8s out: one number", f->ports[k]);
        else
            ag_text_add(t, " *   %-8s %s: %lld numbers, of shape %s", f->ports[k], in ? "in" : "out", (long long)count,
                        ag_show_shape(shape).text);
        say_name(f, t, k);
    }
    if (work) ag_text_line(t, " *   %-8s room for %lld numbers", "work", (long long)work);
    ag_text_line(t, " * All are %s, row-major. What is written overlaps nothing else.%s", number,
                 ag_c_can_fail(f->file, p) ? "" : " */");
    if (!ag_c_can_fail(f->file, p)) return;
    ag_text_line(t, " * Returns 0; or, and then what is written is not valid, the number of what went wrong:");
    ag_text_add(t, "%s */\n", f->file->checks.base ? f->file->checks.base : "");
}

static void assemble(ag_c_function *f, ag_text *t, int64_t work) {
    ag_c_file *file = f->file;
    ag_text_line(t, "#include <math.h>");
    if (file->functions.base && strstr(file->functions.base, "cblas_")) ag_text_line(t, "#include <cblas.h>");
    else if (f->body.base && strstr(f->body.base, "cblas_")) ag_text_line(t, "#include <cblas.h>");
    ag_text_line(t, "%s", "");
    if (file->lanes_out) ag_c_declare_vector_maths(file, t);
    if (file->helpers.count) ag_text_add(t, "%s\n", file->helpers.base);
    if (file->functions.count) ag_text_add(t, "%s", file->functions.base);
    describe(f, t, work);
    put_function(f, t, file->enclosed ? "static " : "", f->name, &f->body, work > 0);
    if (file->options.rows) ag_c_print_rows(f, t, work);
    ag_c_end_vector_maths(file, t);
    t->failed |= file->helpers.failed || file->functions.failed || file->checks.failed;
}

static bool print_file(ag_c_file *file, const ag_program *p, const char *name, ag_text *text) {
    ag_c_function f;
    file->type = p->type;
    file->name = name;
    file->helpers = file->functions = file->checks = (ag_text){.memory = file->memory};
    if (ag_c_open_function(&f, file, p, name, STYLE_PUBLIC, NULL)) {
        file->work = write_function(&f);
        if (file->options.rows || file->wants_lanes) ag_c_print_lanes(file, p, name);
        if (file->status == AG_OK) assemble(&f, text, file->work);
    }
    ag_c_close_function(&f);
    if (text->failed) ag_c_fail(file, AG_ERR_MEMORY, "print: out of memory");
    return file->status == AG_OK;
}

bool ag_c_print_file(ag_c_file *file, const ag_program *p, const char *name, ag_text *text) {
    ag_locale locale = ag_locale_enter();
    bool ok = print_file(file, p, name, text);
    ag_locale_leave(locale);
    return ok;
}

void ag_c_close_file(ag_c_file *file) {
    ag_text_free(&file->helpers);
    ag_text_free(&file->functions);
    ag_text_free(&file->checks);
    ag_range_free(file->memory, &file->known);
}

ag_printed ag_program_print_c(const ag_program *p, const char *name, const ag_c_options *options, FILE *out) {
    ag_printed printed = {.status = ag_program_status(p)};
    snprintf(printed.message, sizeof printed.message, "%s", ag_program_message(p));
    if (printed.status == AG_OK && !out) {
        printed.status = AG_ERR_VALUE;
        snprintf(printed.message, sizeof printed.message, "print: the file is NULL");
    }
    if (printed.status != AG_OK) return printed;
    ag_memory memory = {p->memory.permit, p->memory.context, true, 0};
    ag_c_file file = {.memory = &memory, .options = options ? *options : (ag_c_options){0}};
    ag_text text = {.memory = &memory};
    char own[NAME_ROOM];
    ag_c_name(own, name && *name ? name : "program", NULL, 0);
    if (ag_c_print_file(&file, p, own, &text)) {
        printed.work = file.work;
        printed.checks = file.check_count;
        if (fwrite(text.base, 1, text.count, out) != text.count || fflush(out) != 0)
            ag_c_fail(&file, AG_ERR_FILE, "print: the file could not be written");
    }
    snprintf(printed.name, sizeof printed.name, "%s", own);
    printed.status = file.status;
    snprintf(printed.message, sizeof printed.message, "%s", file.message);
    ag_c_close_file(&file);
    ag_text_free(&text);
    return printed;
}
