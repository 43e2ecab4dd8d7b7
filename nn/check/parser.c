/* Text into statements: words, names, and the file as a whole. Names are resolved on the way: each must be defined above. */
#include "nn/check/functions.h"
#include "nn/check/parser_impl.h"

bool ac_fail_memory(ac_parser *p) {
    if (!ac_arena_is_full(p->file->arena)) return ac_fail(p->error, p->token.span, "out of memory");
    return ac_fail(p->error, p->token.span, "reading this needs more memory than the limit of %zu MB",
                   p->file->limits.bytes >> 20);
}

void *ac_take(ac_parser *p, size_t count, size_t size) {
    void *memory = ac_arena_take(p->file->arena, count, size);
    if (memory == NULL) ac_fail_memory(p);
    return memory;
}

bool ac_add(ac_parser *p, ac_list *l, void *item) {
    if (l->count == l->capacity) {
        int capacity = l->capacity > 0 ? 2 * l->capacity : 16;
        void **items = nn_allocate((size_t)capacity, sizeof *items);
        if (items == NULL) return ac_fail_memory(p);
        if (l->count > 0) memcpy(items, l->items, (size_t)l->count * sizeof *items);
        nn_release(l->items);
        l->items = items;
        l->capacity = capacity;
    }
    l->items[l->count++] = item;
    return true;
}

void *ac_keep(ac_parser *p, ac_list *l, int start) {
    size_t count = (size_t)(l->count - start);
    void **items = ac_take(p, count, sizeof *items);
    if (items != NULL && count > 0) memcpy(items, l->items + start, count * sizeof *items);
    l->count = start;
    return items;
}

/* ---- tokens ----------------------------------------------------------------------------------------------------- */

static void tell_read(ac_parser *p) {
    const ac_source *s = &p->file->source;
    if (s->was_read != NULL) s->was_read(s->context, p->end - p->read);
    p->read = p->end;
}

void ac_advance(ac_parser *p) {
    enum { WORDS = 1024, READ = 1 << 18 }; /* words between two looks at the clock, bytes between two reports */
    p->end = p->token.span.end;
    if (p->end - p->read > READ) tell_read(p);
    if (++p->words % WORDS == 0) (void)ac_is_in_time(p->file, p->error, p->token.span);
    p->token = ac_next_token(&p->lexer);
}

bool ac_fail_expected(ac_parser *p, const char *expected) {
    ac_span s = p->token.span;
    if (p->token.kind == AC_END_OF_FILE)
        return ac_fail(p->error, s, "expected %s, found the end of the file", expected);
    if (p->token.kind == AC_END_OF_LINE)
        return ac_fail(p->error, s, "expected %s, found the end of the line", expected);
    char found[60];
    return ac_fail(p->error, s, "expected %s, found '%s'", expected,
                   ac_text_of(&p->file->source, s, found, sizeof found));
}

bool ac_expect_mark(ac_parser *p, char mark, const char *expected) {
    if (!is_mark(p, mark)) return ac_fail_expected(p, expected);
    ac_advance(p);
    return true;
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

ac_symbol *ac_find_symbol(ac_parser *p, ac_span span) {
    const char *name = text_of(p, span);
    size_t length = length_of(span);
    for (int i = p->locals.count - 1; i >= 0; i--) {
        ac_symbol *s = p->locals.items[i];
        if (strlen(s->name) == length && memcmp(s->name, name, length) == 0) return s;
    }
    ac_entry *e = NULL;
    HASH_FIND(hh, p->names, name, length, e);
    return e == NULL || e->symbol->span.start > p->start ? NULL : e->symbol;
}

ac_symbol *ac_new_symbol(ac_parser *p, ac_symbol_kind kind, ac_span span) {
    ac_symbol *s = ac_take(p, 1, sizeof *s);
    char *name = ac_take(p, length_of(span) + 1, 1);
    if (s == NULL || name == NULL) return NULL;
    memcpy(name, text_of(p, span), length_of(span));
    s->file = p->file;
    s->kind = kind;
    s->name = name;
    s->span = span;
    return s;
}

ac_symbol *ac_open_local(ac_parser *p, ac_span span) {
    ac_symbol *s = ac_new_symbol(p, AC_LOCAL, span);
    if (s == NULL || !ac_add(p, &p->locals, s)) return NULL;
    s->index = p->locals.count - 1;
    if (p->locals.count > p->frame_size) p->frame_size = p->locals.count;
    return s;
}

bool ac_fail_unknown(ac_parser *p, ac_span span, bool call) {
    ac_fail(p->error, span, "unknown %s '%.*s'", call ? "function" : "name", (int)length_of(span), text_of(p, span));
    int count = p->symbols.count;
    for (int i = 0; i < p->locals.count; i++)
        (void)ac_add(p, &p->symbols, p->locals.items[i]); /* nothing else follows */
    const char *similar =
        ac_similar(text_of(p, span), length_of(span), (ac_symbol *const *)p->symbols.items, p->symbols.count);
    p->symbols.count = count;
    if (similar != NULL) ac_hint(p->error, "did you mean '%s'?", similar);
    else if (!call && length_of(span) == 2 && memcmp(text_of(p, span), "π", 2) == 0)
        ac_hint(p->error, "write pi, or define it: π = pi");
    else if (!call && length_of(span) == 1 && *text_of(p, span) == 'e') ac_hint(p->error, "write exp(1), or define it");
    return false;
}

bool ac_add_use(ac_parser *p, ac_symbol *s) {
    if (s->kind == AC_LOCAL) return true;
    p->random = p->random || s->random;
    if (s->used_in == p->statements.count + 1) return true;
    s->used_in = p->statements.count + 1;
    return ac_add(p, &p->uses, s);
}

bool ac_check_word(ac_parser *p, ac_span name) {
    return !ac_is_keyword(text_of(p, name), length_of(name)) ||
           ac_fail(p->error, name, "'%.*s' is a word of the language", (int)length_of(name), text_of(p, name));
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static void release(ac_parser *p) {
    tell_read(p);
    nn_release(p->statements.items);
    nn_release(p->symbols.items);
    nn_release(p->locals.items);
    nn_release(p->uses.items);
    nn_release(p->items.items);
    nn_release(p->numbers);
}

static void parse_file(ac_file *f) {
    bool marked = f->source.size >= 3 && memcmp(f->source.text, "\xEF\xBB\xBF", 3) == 0; /* a byte order mark */
    ac_parser p = {.file = f, .error = &f->error, .lexer = {&f->source, &f->error, marked ? 3 : 0, 1, 0}};
    ac_parse_statements(&p);
    f->names = p.names;
    f->nesting = p.nesting;
    f->symbol_count = p.symbols.count;
    f->symbols = ac_keep(&p, &p.symbols, 0);
    f->statement_count = p.statements.count;
    f->statements = ac_keep(&p, &p.statements, 0);
    if (f->symbols == NULL) f->symbol_count = 0;
    if (f->statements == NULL) f->statement_count = 0;
    release(&p);
}

ac_file *ac_parse(const ac_source *source, ac_limits limits) {
    if (limits.bytes == 0) limits.bytes = (size_t)1 << 30;
    if (!(limits.seconds > 0)) limits.seconds = 60;
    ac_arena *arena = ac_arena_new(limits.bytes);
    ac_file *f = arena == NULL ? NULL : ac_arena_take(arena, 1, sizeof *f);
    char *copied = f == NULL ? NULL : ac_arena_take(arena, strlen(source->name) + 1, 1);
    if (copied != NULL) f->read = ac_arena_take(arena, 1, sizeof *f->read);
    if (copied == NULL || f->read == NULL) {
        ac_arena_free(arena);
        return NULL;
    }
    f->arena = arena;
    f->limits = limits;
    f->deadline = ac_clock() + limits.seconds;
    f->source = *source;
    f->source.name = strcpy(copied, source->name);
    if (source->size > AC_MAX_BYTES || source->text[source->size] != '\0') {
        f->source = (ac_source){.name = copied, .text = ""};
        if (source->size > AC_MAX_BYTES)
            ac_fail(&f->error, (ac_span){0, 0}, "the file has more than %d bytes", AC_MAX_BYTES);
        else ac_fail(&f->error, (ac_span){0, 0}, "the text has no end");
    } else parse_file(f);
    return f;
}

void ac_file_free(ac_file *file) {
    if (file == NULL) return;
    HASH_CLEAR(hh, file->names);
    ac_arena_free(file->arena);
}

/* ---- reading again ---------------------------------------------------------------------------------------------- */

/* A parser that is about to read a part of a statement again. */
static ac_parser at_part(const ac_file *f, uint32_t at, int64_t line, ac_error *error) {
    ac_parser p = {.file = f, .error = error, .lexer = {&f->source, error, at, line, 0}, .names = f->names};
    p.start = p.end = p.read = at;
    p.token.span = (ac_span){at, at};
    ac_advance(&p);
    return p;
}

bool ac_read_sides(const ac_file *file, ac_statement *s, ac_error *error) {
    ac_parser p = at_part(file, s->span.start, s->line, error);
    bool fine = ac_parse_sides(&p, s);
    release(&p);
    return fine;
}

bool ac_read_definition(ac_symbol *s, ac_error *error) {
    if (s->body != NULL || s->parameters != NULL) return true;
    ac_error ignored = {.set = false};
    ac_parser p = at_part(s->file, s->span.start, 1, error != NULL ? error : &ignored);
    ac_advance(&p);
    bool fine = ac_parse_definition(&p, s);
    release(&p);
    if (!fine) {
        s->body = NULL;
        s->parameters = NULL;
        return false;
    }
    s->before = *s->file->read;
    *s->file->read = s;
    return true;
}

ac_bookmark ac_bookmark_here(const ac_file *file) { return (ac_bookmark){ac_arena_place(file->arena), *file->read}; }

void ac_go_back(const ac_file *file, ac_bookmark bookmark, ac_statement *s) {
    if (s != NULL) s->left = s->right = s->within = NULL;
    for (; *file->read != bookmark.read; *file->read = (*file->read)->before) {
        (*file->read)->body = NULL;
        (*file->read)->parameters = NULL;
    }
    ac_arena_rewind(file->arena, bookmark.arena);
}

bool ac_is_literal(const ac_node *node) {
    while (node->kind == AC_NEGATE) node = node->operands[0];
    return (node->kind == AC_NUMBER || node->kind == AC_ARRAY) && node->units != NULL;
}
