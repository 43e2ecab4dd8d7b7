/* Words into statements. */
#include "nn/check/functions.h"
#include "nn/check/parser_impl.h"

static bool is_line_end(const ac_parser *p) {
    return p->token.kind == AC_END_OF_LINE || p->token.kind == AC_END_OF_FILE;
}

static bool define(ac_parser *p, ac_symbol *s) {
    ac_entry *e = ac_take(p, 1, sizeof *e);
    if (e == NULL) return false;
    s->index = p->symbols.count;
    e->symbol = s;
    HASH_ADD_KEYPTR(hh, p->names, s->name, strlen(s->name), e);
    return e->hh.tbl != NULL ? ac_add(p, &p->symbols, s) : ac_fail_memory(p);
}

static bool parse_value(ac_parser *p, ac_symbol *s) {
    ac_advance(p);
    s->kind = AC_VALUE;
    s->body = ac_parse_sum(p);
    if (s->body == NULL) return false;
    if (p->token.kind == AC_EQUAL) {
        ac_fail_expected(p, "the end of the statement");
        ac_hint(p->error, "a claim starts with check: check EXPR == EXPR");
        return false;
    }
    s->nesting = s->body->nesting;
    s->given = s->body->kind == AC_NUMBER || s->body->kind == AC_ARRAY;
    return true;
}

static bool parse_arguments(ac_parser *p, ac_symbol *s) {
    int first = p->locals.count;
    ac_advance(p);
    while (!is_mark(p, ')')) {
        if (p->token.kind != AC_WORD || ac_is_keyword(text_of(p, p->token.span), length_of(p->token.span))) {
            ac_fail_expected(p, "the name of an argument: NAME(ARG, ...) = EXPR");
            ac_hint(p->error, "to print a value: show EXPR; to claim something: check EXPR == EXPR");
            return false;
        }
        for (int i = first; i < p->locals.count; i++) {
            const ac_symbol *other = p->locals.items[i];
            if (is_word(p, other->name))
                return ac_fail(p->error, p->token.span, "two arguments are named '%s'", other->name);
        }
        if (p->locals.count - first == AC_MAX_ARGUMENTS)
            return ac_fail(p->error, p->token.span, "more than %d arguments", AC_MAX_ARGUMENTS);
        if (ac_open_local(p, p->token.span) == NULL) return false;
        ac_advance(p);
        if (is_mark(p, ')')) break;
        if (!ac_expect_mark(p, ',', "',' or ')'")) return false;
        if (is_mark(p, ')')) return ac_fail_expected(p, "the name of an argument");
    }
    ac_advance(p);
    s->argument_count = p->locals.count - first;
    return s->argument_count > 0 || ac_fail(p->error, s->span, "a function without arguments");
}

static bool parse_function(ac_parser *p, ac_symbol *s) {
    s->kind = AC_DEFINED;
    if (!parse_arguments(p, s)) return false;
    if (!is_mark(p, '=')) {
        ac_fail_expected(p, "'=': NAME(ARG, ...) = EXPR");
        ac_hint(p->error, "to print a value: show EXPR; to claim something: check EXPR == EXPR");
        return false;
    }
    ac_advance(p);
    s->body = ac_parse_sum(p);
    if (s->body == NULL) return false;
    s->nesting = s->body->nesting;
    return true;
}

static bool parse_distribution(ac_parser *p, ac_symbol *s) {
    static const struct {
        const char *name;
        int least, most;
        const char *usage;
    } distributions[] = {{"normal", 0, 2, "normal(), normal(n) or normal(m, n)"},
                         {"uniform", 2, 4, "uniform(lo, hi), uniform(lo, hi, n) or uniform(lo, hi, m, n)"},
                         {"positive", 0, 2, "positive(), positive(n) or positive(m, n)"},
                         {"onehot", 1, 1, "onehot(K)"},
                         {"simplex", 1, 1, "simplex(K)"}};
    int kind = 0, count = (int)(sizeof distributions / sizeof distributions[0]), first = p->items.count;
    ac_advance(p);
    while (kind < count && !is_word(p, distributions[kind].name)) kind++;
    ac_span name = p->token.span;
    if (kind == count) {
        ac_fail_expected(p, "a distribution");
        ac_hint(p->error, "normal, uniform, positive, onehot or simplex");
        return false;
    }
    ac_advance(p);
    if (!ac_expect_mark(p, '(', "'('") || !ac_parse_items(p, ')', "',' or ')'")) return false;
    s->kind = AC_QUANTIFIED;
    s->given = true;
    s->distribution = (ac_distribution)kind;
    s->parameter_count = p->items.count - first;
    if (p->random) return ac_fail(p->error, name, "the shape and limits of '%s' depend on a quantified name", s->name);
    p->random = true;
    s->parameters = ac_keep(p, &p->items, first);
    return s->parameters != NULL && ac_check_count(p, name, s->parameter_count, distributions[kind].least,
                                                   distributions[kind].most, distributions[kind].usage);
}

static bool check_new(ac_parser *p, ac_span name) {
    const ac_symbol *old = ac_find_symbol(p, name);
    if (!ac_check_word(p, name)) return false;
    if (old == NULL) return true;
    ac_fail(p->error, name, "'%s' is defined already, in line %lld", old->name,
            (long long)ac_place_of(&p->file->source, old->span.start).line);
    ac_hint(p->error, "a name is defined once: use another, such as %s2", old->name);
    return false;
}

bool ac_parse_definition(ac_parser *p, ac_symbol *s) {
    return is_mark(p, '=') ? parse_value(p, s) : is_mark(p, '(') ? parse_function(p, s) : parse_distribution(p, s);
}

static bool parse_label(ac_parser *p) {
    p->label = (ac_span){0, 0};
    if (p->token.kind != AC_STRING) return true;
    p->label = p->token.span;
    ac_advance(p);
    return ac_expect_mark(p, ':', "':'");
}

static bool parse_claim(ac_parser *p, ac_statement *s) {
    uint32_t start = p->token.span.start;
    if ((s->left = ac_parse_sum(p)) == NULL) return false;
    if (p->token.kind != AC_EQUAL) {
        bool single = is_mark(p, '=');
        ac_fail_expected(p, "'=='");
        if (single) ac_hint(p->error, "write == for a claim");
        return false;
    }
    ac_advance(p);
    if ((s->right = ac_parse_sum(p)) == NULL) return false;
    p->claim = (ac_span){start, p->end};
    if (!is_word(p, "within")) return true;
    ac_advance(p);
    bool random = p->random;
    p->random = false;
    if ((s->within = ac_parse_sum(p)) == NULL) return false;
    if (p->random) return ac_fail(p->error, s->within->span, "the tolerance depends on a quantified name");
    p->random = random;
    return true;
}

bool ac_parse_sides(ac_parser *p, ac_statement *s) {
    s->kind = is_word(p, "check") ? AC_CHECK : AC_SHOW;
    ac_advance(p);
    if (s->kind == AC_CHECK) return parse_label(p) && parse_claim(p, s);
    s->left = ac_parse_sum(p);
    return s->left != NULL;
}

/* A claim without a label is called by its text. */
static const char *make_label(ac_parser *p) {
    enum { LONGEST = 60 };
    bool given = p->label.end > 0;
    size_t size = given ? length_of(p->label) + 1 : LONGEST;
    char *label = ac_take(p, size, 1);
    if (label == NULL || given) return label == NULL ? NULL : memcpy(label, text_of(p, p->label), size - 1);
    return ac_text_of(&p->file->source, p->claim, label, size);
}

/* Finds errors; the expressions are read again when it is their turn. */
static bool parse_and_forget(ac_parser *p, ac_statement *s) {
    ac_bookmark before = ac_bookmark_here(p->file);
    if (!ac_parse_sides(p, s)) return false;
    ac_go_back(p->file, before, s);
    if (s->kind == AC_CHECK) s->label = make_label(p);
    return s->kind == AC_SHOW || s->label != NULL;
}

static bool fail_no_statement(ac_parser *p, ac_span name) {
    const char *similar = ac_similar(text_of(p, name), length_of(name), NULL, 0);
    ac_fail_expected(p, "'=', '~' or '(' behind a name");
    if (similar != NULL && (strcmp(similar, "check") == 0 || strcmp(similar, "show") == 0))
        ac_hint(p->error, "did you mean '%s'?", similar);
    else if (is_mark(p, ':')) ac_hint(p->error, "a name is defined with =: NAME = EXPR");
    else if (is_mark(p, '\'')) ac_hint(p->error, "a name has letters, digits and _; ' is the transpose");
    else ac_hint(p->error, "a claim starts with check: check EXPR == EXPR");
    return false;
}

static bool define_and_forget(ac_parser *p, ac_statement *statement) {
    ac_span name = p->token.span;
    if (p->token.kind != AC_WORD) return ac_fail_expected(p, "a statement: NAME = EXPR, NAME ~ DIST, check or show");
    ac_advance(p);
    if (!is_mark(p, '=') && !is_mark(p, '(') && !is_mark(p, '~')) return fail_no_statement(p, name);
    if (!check_new(p, name)) return false;
    ac_symbol *s = ac_new_symbol(p, AC_VALUE, name);
    ac_arena_mark mark = ac_arena_place(p->file->arena);
    if (s == NULL || !ac_parse_definition(p, s)) return false;
    s->body = NULL;
    s->parameters = NULL;
    ac_arena_rewind(p->file->arena, mark);
    statement->kind = AC_DEFINE;
    statement->symbol = s;
    return true;
}

/* What people write out of habit. */
static bool fail_no_end(ac_parser *p) {
    uint32_t before = p->token.span.start;
    bool number = before > 0 && p->file->source.text[before - 1] >= '0' && p->file->source.text[before - 1] <= '9';
    ac_fail_expected(p, "the end of the line");
    if (is_mark(p, ',') && number)
        ac_hint(p->error, "numbers have a decimal point, vectors have brackets: 0.34, [0, 34]");
    if (is_mark(p, '(')) ac_hint(p->error, "write * for a product");
    return false;
}

static bool parse_statement(ac_parser *p, ac_statement *s) {
    uint32_t start = p->start = p->token.span.start;
    p->uses.count = p->locals.count = p->items.count = p->frame_size = p->depth = 0;
    p->random = false;
    s->line = p->lexer.line;
    bool sides = is_word(p, "check") || is_word(p, "show");
    if (!(sides ? parse_and_forget(p, s) : define_and_forget(p, s))) return false;
    if (!is_line_end(p)) return fail_no_end(p);
    s->span = (ac_span){start, p->end};
    s->random = p->random;
    s->frame_size = p->frame_size;
    s->use_count = p->uses.count;
    s->uses = ac_keep(p, &p->uses, 0);
    if (s->uses == NULL) return false;
    if (s->kind != AC_DEFINE) return true;
    s->symbol->random = s->random;
    s->symbol->frame_size = s->frame_size;
    if (!define(p, s->symbol)) return false;
    s->symbol->uses = s->uses;
    s->symbol->use_count = s->use_count;
    return true;
}

bool ac_parse_statements(ac_parser *p) {
    ac_advance(p);
    for (;;) {
        while (p->token.kind == AC_END_OF_LINE) ac_advance(p);
        if (p->token.kind == AC_END_OF_FILE) return !p->error->set;
        if (p->statements.count == AC_MAX_STATEMENTS)
            return ac_fail(p->error, p->token.span, "more than %d statements", AC_MAX_STATEMENTS);
        ac_statement *s = ac_take(p, 1, sizeof *s);
        if (s == NULL || !parse_statement(p, s) || !ac_add(p, &p->statements, s)) return false;
    }
}
