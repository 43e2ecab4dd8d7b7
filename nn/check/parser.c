/* Words into statements and expressions, by recursive descent. Names are resolved on the way: each must be defined above. */
#include "nn/check/functions.h"
#include "nn/check/lexer.h"
#include "nn/memory.h"

#define uthash_malloc(size) nn_allocate(1, size)
#define uthash_free(memory, size) nn_release(memory)
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

typedef struct entry {
    ac_symbol *symbol;
    UT_hash_handle hh;
} entry;

/* A growing array of pointers. */
typedef struct list {
    void **items;
    int count, capacity;
} list;

typedef struct parser {
    ac_file *file;
    ac_error *error;
    ac_lexer lexer;
    ac_token token; /* the next one */
    uint32_t end;   /* of the one before */
    entry *names;
    list statements, symbols;
    list locals;    /* in scope */
    int frame_size; /* of the statement */
    list uses;      /* of the statement */
    bool random;
    int depth;
    unsigned words;          /* that were read */
    list items;              /* of the lists and calls being read, one behind the other */
    double *numbers, *units; /* of the array being read */
    size_t number_count, number_capacity;
} parser;

static bool fail_memory(parser *p) {
    if (!ac_arena_is_full(p->file->arena)) return ac_fail(p->error, p->token.span, "out of memory");
    return ac_fail(p->error, p->token.span, "reading this needs more memory than the limit of %zu MB",
                   p->file->limits.bytes >> 20);
}

static void *take(parser *p, size_t count, size_t size) {
    void *memory = ac_arena_take(p->file->arena, count, size);
    if (memory == NULL) fail_memory(p);
    return memory;
}

static bool add(parser *p, list *l, void *item) {
    if (l->count == l->capacity) {
        int capacity = l->capacity > 0 ? 2 * l->capacity : 16;
        void **items = nn_allocate((size_t)capacity, sizeof *items);
        if (items == NULL) return fail_memory(p);
        if (l->count > 0) memcpy(items, l->items, (size_t)l->count * sizeof *items);
        nn_release(l->items);
        l->items = items;
        l->capacity = capacity;
    }
    l->items[l->count++] = item;
    return true;
}

/* The items from `start` on, moved to the arena. */
static void *keep(parser *p, list *l, int start) {
    size_t count = (size_t)(l->count - start);
    void **items = take(p, count, sizeof *items);
    if (items != NULL && count > 0) memcpy(items, l->items + start, count * sizeof *items);
    l->count = start;
    return items;
}

/* ---- tokens ----------------------------------------------------------------------------------------------------- */

static const char *text_of(const parser *p, ac_span span) { return p->file->source.text + span.start; }
static size_t length_of(ac_span span) { return span.end - span.start; }

static void advance(parser *p) {
    enum { WORDS = 1024 }; /* between two looks at the clock */
    p->end = p->token.span.end;
    if (++p->words % WORDS == 0) (void)ac_is_in_time(p->file, p->error, p->token.span);
    p->token = ac_next_token(&p->lexer);
}

static bool is_mark(const parser *p, char mark) { return p->token.kind == AC_MARK && p->token.mark == mark; }

static bool is_word(const parser *p, const char *word) {
    return p->token.kind == AC_WORD && length_of(p->token.span) == strlen(word) &&
           memcmp(text_of(p, p->token.span), word, strlen(word)) == 0;
}

static bool is_line_end(const parser *p) { return p->token.kind == AC_END_OF_LINE || p->token.kind == AC_END_OF_FILE; }

/* An error at the next token: what should be there, and what is. */
static bool fail_expected(parser *p, const char *expected) {
    ac_span s = p->token.span;
    if (p->token.kind == AC_END_OF_FILE)
        return ac_fail(p->error, s, "expected %s, found the end of the file", expected);
    if (p->token.kind == AC_END_OF_LINE)
        return ac_fail(p->error, s, "expected %s, found the end of the line", expected);
    char found[60];
    return ac_fail(p->error, s, "expected %s, found '%s'", expected,
                   ac_text_of(&p->file->source, s, found, sizeof found));
}

static bool expect_mark(parser *p, char mark, const char *expected) {
    if (!is_mark(p, mark)) return fail_expected(p, expected);
    advance(p);
    return true;
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

static ac_symbol *find_symbol(parser *p, ac_span span) {
    const char *name = text_of(p, span);
    size_t length = length_of(span);
    for (int i = p->locals.count - 1; i >= 0; i--) {
        ac_symbol *s = p->locals.items[i];
        if (strlen(s->name) == length && memcmp(s->name, name, length) == 0) return s;
    }
    entry *e = NULL;
    HASH_FIND(hh, p->names, name, length, e);
    return e == NULL ? NULL : e->symbol;
}

static ac_symbol *new_symbol(parser *p, ac_symbol_kind kind, ac_span span) {
    ac_symbol *s = take(p, 1, sizeof *s);
    char *name = take(p, length_of(span) + 1, 1);
    if (s == NULL || name == NULL) return NULL;
    memcpy(name, text_of(p, span), length_of(span));
    s->kind = kind;
    s->name = name;
    s->span = span;
    return s;
}

/* Locals of one scope are open at a time: those of a function, and of equations within equations. */
static ac_symbol *open_local(parser *p, ac_span span) {
    ac_symbol *s = new_symbol(p, AC_LOCAL, span);
    if (s == NULL || !add(p, &p->locals, s)) return NULL;
    s->index = p->locals.count - 1;
    if (p->locals.count > p->frame_size) p->frame_size = p->locals.count;
    return s;
}

static bool fail_unknown(parser *p, ac_span span, bool call) {
    ac_fail(p->error, span, "unknown %s '%.*s'", call ? "function" : "name", (int)length_of(span), text_of(p, span));
    int count = p->symbols.count;
    for (int i = 0; i < p->locals.count; i++) (void)add(p, &p->symbols, p->locals.items[i]); /* nothing else follows */
    const char *similar =
        ac_similar(text_of(p, span), length_of(span), (ac_symbol *const *)p->symbols.items, p->symbols.count);
    p->symbols.count = count;
    if (similar != NULL) ac_hint(p->error, "did you mean '%s'?", similar);
    return false;
}

static bool add_use(parser *p, ac_symbol *s) {
    if (s->kind == AC_LOCAL) return true;
    p->random = p->random || s->random;
    if (s->used_in == p->statements.count + 1) return true;
    s->used_in = p->statements.count + 1;
    return add(p, &p->uses, s);
}

/* ---- expressions ------------------------------------------------------------------------------------------------ */

static ac_node *parse_sum(parser *p);
static ac_node *parse_sign(parser *p);

static ac_node *new_node(parser *p, ac_kind kind, uint32_t start) {
    ac_node *n = take(p, 1, sizeof *n);
    if (n == NULL) return NULL;
    n->kind = kind;
    n->span = (ac_span){start, p->end};
    n->depth = 1;
    return n;
}

/* A node of operands; an operand may be NULL in an index only. */
static ac_node *with_operands(parser *p, ac_kind kind, uint32_t start, ac_node **operands, int count) {
    ac_node *n = new_node(p, kind, start);
    if (n == NULL) return NULL;
    n->operands = operands;
    n->operand_count = count;
    for (int i = 0; i < count; i++) {
        if (operands[i] == NULL) continue;
        if (operands[i]->depth >= n->depth) n->depth = operands[i]->depth + 1;
        if (operands[i]->nesting > n->nesting) n->nesting = operands[i]->nesting;
    }
    if (ac_is_derivative(n) && n->nesting < AC_MAX_NESTING) n->nesting++;
    if (n->nesting > p->file->nesting) p->file->nesting = n->nesting;
    if (n->depth <= AC_MAX_DEPTH) return n;
    ac_fail(p->error, n->span, "an expression nested more than %d deep", AC_MAX_DEPTH);
    ac_hint(p->error, "define parts of it as names");
    return NULL;
}

static ac_node *new_unary(parser *p, ac_kind kind, uint32_t start, ac_node *operand) {
    ac_node **operands = take(p, 1, sizeof *operands);
    if (operands == NULL || operand == NULL) return NULL;
    operands[0] = operand;
    return with_operands(p, kind, start, operands, 1);
}

static ac_node *new_binary(parser *p, ac_kind kind, ac_node *left, ac_node *right) {
    ac_node **operands = take(p, 2, sizeof *operands);
    if (operands == NULL || left == NULL || right == NULL) return NULL;
    operands[0] = left;
    operands[1] = right;
    return with_operands(p, kind, left->span.start, operands, 2);
}

/* Deeper than the parser's own stack should go. */
static bool enter(parser *p) {
    if (++p->depth <= AC_MAX_DEPTH) return true;
    ac_fail(p->error, p->token.span, "brackets, signs or powers nested more than %d deep", AC_MAX_DEPTH);
    return false;
}

static ac_node *parse_nested(parser *p) {
    ac_node *n = enter(p) ? parse_sum(p) : NULL;
    p->depth--;
    return n;
}

static ac_node *new_array(parser *p, uint32_t start, const double *values, const double *units, ag_shape shape) {
    ac_node *n = new_node(p, shape.rank == 0 ? AC_NUMBER : AC_ARRAY, start);
    size_t count = 1;
    for (int i = 0; i < shape.rank; i++) count *= (size_t)shape.dim[i];
    double *numbers = take(p, 2 * count, sizeof *numbers);
    if (n == NULL || numbers == NULL) return NULL;
    memcpy(numbers, values, count * sizeof *numbers);
    memcpy(numbers + count, units, count * sizeof *numbers);
    n->shape = shape;
    n->values = numbers;
    n->units = numbers + count;
    return n;
}

static ac_node *parse_number(parser *p) {
    ac_token t = p->token;
    advance(p);
    return new_array(p, t.span.start, &t.value, &t.unit, (ag_shape){0, {0}});
}

static bool add_number(parser *p, double value, double unit) {
    if (p->number_count == AC_MAX_NUMBERS)
        return ac_fail(p->error, p->token.span, "an array of more than %d numbers", AC_MAX_NUMBERS);
    if (p->number_count == p->number_capacity) {
        size_t capacity = p->number_capacity > 0 ? 2 * p->number_capacity : 64;
        double *numbers = nn_allocate(capacity, 2 * sizeof *numbers);
        if (numbers == NULL) return fail_memory(p);
        double *units = numbers + capacity;
        if (p->number_count > 0) {
            memcpy(numbers, p->numbers, p->number_count * sizeof *numbers);
            memcpy(units, p->units, p->number_count * sizeof *units);
        }
        nn_release(p->numbers);
        p->numbers = numbers;
        p->units = units;
        p->number_capacity = capacity;
    }
    p->numbers[p->number_count] = value;
    p->units[p->number_count++] = unit;
    return true;
}

/* Numbers with signs, and the bracket that closes the row; false if there is anything else in it. */
static bool read_row(parser *p) {
    for (;;) {
        bool minus = false;
        for (; is_mark(p, '-') || is_mark(p, '+'); advance(p)) minus = minus != is_mark(p, '-');
        if (p->token.kind != AC_DIGITS || !add_number(p, minus ? -p->token.value : p->token.value, p->token.unit))
            return false;
        advance(p);
        bool end = is_mark(p, ']');
        if (!end && !is_mark(p, ',')) return false;
        advance(p);
        if (end) return true;
    }
}

/* Rows of numbers of one length, and the bracket that closes the matrix. */
static bool read_rows(parser *p, ag_shape *shape) {
    for (;;) {
        size_t before = p->number_count;
        uint32_t start = p->token.span.start;
        if (!is_mark(p, '[')) return false;
        advance(p);
        if (!read_row(p)) return false;
        int64_t length = (int64_t)(p->number_count - before);
        if (shape->dim[0]++ == 0) shape->dim[1] = length;
        if (length != shape->dim[1])
            return ac_fail(p->error, (ac_span){start, p->end}, "row %lld has %lld numbers, row 1 has %lld",
                           (long long)shape->dim[0], (long long)length, (long long)shape->dim[1]);
        bool end = is_mark(p, ']');
        if (!end && !is_mark(p, ',')) return false;
        advance(p);
        if (end) return true;
    }
}

/* A vector or matrix of nothing but numbers, behind its first bracket, into p->numbers. False, and nothing is read, if it
 * is something else. */
static bool read_array(parser *p, ag_shape *shape) {
    parser before = *p;
    p->number_count = 0;
    *shape = (ag_shape){is_mark(p, '[') ? 2 : 1, {0}};
    bool array = shape->rank == 2 ? read_rows(p, shape) : read_row(p);
    if (shape->rank == 1) shape->dim[0] = (int64_t)p->number_count;
    if (array || p->error->set) return array;
    p->lexer = before.lexer;
    p->token = before.token;
    p->end = before.end;
    return false;
}

/* Items up to a closing mark, which is taken. */
static bool parse_items(parser *p, char close, const char *expected) {
    while (!is_mark(p, close)) {
        ac_node *n = parse_nested(p);
        if (n == NULL || !add(p, &p->items, n)) return false;
        if (is_mark(p, close)) break;
        if (!expect_mark(p, ',', expected)) return false;
        if (is_mark(p, close)) return fail_expected(p, "a value behind ','");
    }
    advance(p);
    return true;
}

/* Printed numbers that stand in brackets of their own, or vectors of them, are an array all the same; false: something
 * else is among them. */
static bool read_literals(parser *p, ac_node *const *items, int count, ag_shape *shape) {
    p->number_count = 0;
    for (int i = 0; i < count; i++) {
        const ac_node *item = items[i];
        double sign = 1;
        if (!ac_is_literal(item)) return false;
        for (; item->kind == AC_NEGATE; item = item->operands[0]) sign = -sign;
        if (i == 0) *shape = item->shape;
        if (item->shape.rank > 1 || item->shape.rank != shape->rank || item->shape.dim[0] != shape->dim[0])
            return false;
        int64_t length = item->shape.rank == 0 ? 1 : item->shape.dim[0];
        for (int64_t k = 0; k < length; k++)
            if (!add_number(p, sign * item->values[k], item->units[k])) return false;
    }
    *shape = shape->rank == 0 ? (ag_shape){1, {count}} : (ag_shape){2, {count, shape->dim[0]}};
    return true;
}

static ac_node *parse_list(parser *p) {
    uint32_t start = p->token.span.start;
    int first = p->items.count;
    ag_shape shape;
    advance(p);
    if (is_mark(p, ']')) {
        ac_fail(p->error, (ac_span){start, p->token.span.end}, "an empty vector");
        return NULL;
    }
    if (read_array(p, &shape)) return new_array(p, start, p->numbers, p->units, shape);
    if (p->error->set || !parse_items(p, ']', "',' or ']'")) return NULL;
    int count = p->items.count - first;
    ac_node **operands = keep(p, &p->items, first);
    if (operands == NULL) return NULL;
    if (read_literals(p, operands, count, &shape)) return new_array(p, start, p->numbers, p->units, shape);
    return p->error->set ? NULL : with_operands(p, AC_LIST, start, operands, count);
}

/* What derivatives are taken by: a name, or an entry or slice of one. */
static bool is_variable(const ac_node *n) {
    while (n->kind == AC_INDEX) n = n->operands[0];
    return n->kind == AC_NAME;
}

static ac_node *parse_derivative(parser *p, ac_kind kind, ac_span name) {
    int first = p->items.count;
    if (!parse_items(p, ')', "',' or ')'")) return NULL;
    int count = p->items.count - first;
    if (count != 2) {
        ac_fail(p->error, name, "%.*s takes 2 arguments, a function and a name, not %d", (int)length_of(name),
                text_of(p, name), count);
        return NULL;
    }
    ac_node **operands = keep(p, &p->items, first);
    if (operands == NULL) return NULL;
    if (is_variable(operands[1])) return with_operands(p, kind, name.start, operands, 2);
    ac_fail(p->error, operands[1]->span, "derivatives are taken by a name, or an entry or slice of one");
    ac_hint(p->error, "give this expression a name above");
    return NULL;
}

/* The name behind "solve(EXPR == EXPR," which the equation uses before it is reached. */
static bool find_unknown_name(parser *p, ac_span *name) {
    parser before = *p;
    for (int open = 0; p->token.kind != AC_END_OF_FILE && !(open == 0 && is_mark(p, ',')); advance(p)) {
        if (is_mark(p, '(') || is_mark(p, '[')) open++;
        if ((is_mark(p, ')') || is_mark(p, ']')) && open-- == 0) break;
    }
    bool found = is_mark(p, ',');
    if (found) {
        advance(p);
        found = p->token.kind == AC_WORD;
        *name = p->token.span;
    }
    if (p->error->set) return false;
    if (!found) return fail_expected(p, "', NAME from NUMBER': solve(EXPR == EXPR, NAME from NUMBER)");
    p->lexer = before.lexer;
    p->token = before.token;
    p->end = before.end;
    return true;
}

/* May this word be a name? */
static bool check_word(parser *p, ac_span name) {
    return !ac_is_keyword(text_of(p, name), length_of(name)) ||
           ac_fail(p->error, name, "'%.*s' is a word of the language", (int)length_of(name), text_of(p, name));
}

static ac_node *parse_solve(parser *p, ac_span word) {
    ac_span name;
    ac_node **operands = take(p, 3, sizeof *operands);
    if (operands == NULL || !find_unknown_name(p, &name) || !check_word(p, name)) return NULL;
    ac_symbol *unknown = open_local(p, name);
    if (unknown == NULL || (operands[0] = parse_nested(p)) == NULL) return NULL;
    if (p->token.kind != AC_EQUAL) {
        fail_expected(p, "'=='");
        return NULL;
    }
    advance(p);
    if ((operands[1] = parse_nested(p)) == NULL || !expect_mark(p, ',', "','")) return NULL;
    advance(p); /* the name */
    p->locals.count--;
    if (!is_word(p, "from")) {
        fail_expected(p, "'from'");
        return NULL;
    }
    advance(p);
    if ((operands[2] = parse_nested(p)) == NULL || !expect_mark(p, ')', "')'")) return NULL;
    ac_node *n = with_operands(p, AC_SOLVE, word.start, operands, 3);
    if (n != NULL) n->symbol = unknown;
    return n;
}

static bool check_count(parser *p, ac_span name, int count, int least, int most, const char *usage) {
    if (count >= least && count <= most) return true;
    ac_fail(p->error, name, "%.*s takes %d%s%.0d argument%s, not %d", (int)length_of(name), text_of(p, name), least,
            most > least ? " or " : "", most > least ? most : 0, most == 1 ? "" : "s", count);
    if (usage != NULL) ac_hint(p->error, "%s", usage);
    return false;
}

/* Behind the opening bracket. */
static ac_node *parse_call(parser *p, ac_span name) {
    static const char *const derivatives[] = {"grad", "jac", "hess"};
    size_t length = length_of(name);
    for (int i = 0; i < 3; i++)
        if (strlen(derivatives[i]) == length && memcmp(derivatives[i], text_of(p, name), length) == 0)
            return parse_derivative(p, (ac_kind)(AC_GRAD + i), name);
    if (length == 5 && memcmp("solve", text_of(p, name), 5) == 0) return parse_solve(p, name);
    ac_symbol *symbol = find_symbol(p, name);
    const ac_function *function = symbol == NULL ? ac_function_find(text_of(p, name), length) : NULL;
    if (symbol == NULL && function == NULL) {
        fail_unknown(p, name, true);
        return NULL;
    }
    if (symbol != NULL && symbol->kind != AC_DEFINED) {
        ac_fail(p->error, name, "'%s' is not a function", symbol->name);
        ac_hint(p->error, "write * for a product");
        return NULL;
    }
    int first = p->items.count;
    if (!parse_items(p, ')', "',' or ')'")) return NULL;
    int count = p->items.count - first;
    bool fits = symbol != NULL ? check_count(p, name, count, symbol->argument_count, symbol->argument_count, NULL)
                               : check_count(p, name, count, function->least, function->most, function->usage);
    ac_node **operands = keep(p, &p->items, first);
    if (!fits || operands == NULL || (symbol != NULL && !add_use(p, symbol))) return NULL;
    ac_node *n = with_operands(p, symbol != NULL ? AC_APPLY : AC_CALL, name.start, operands, count);
    if (n == NULL) return NULL;
    n->symbol = symbol;
    n->function = function;
    if (symbol != NULL) n->nesting += symbol->nesting;
    if (n->nesting > AC_MAX_NESTING) n->nesting = AC_MAX_NESTING;
    if (n->nesting > p->file->nesting) p->file->nesting = n->nesting;
    return n;
}

static ac_node *parse_name(parser *p) {
    static const double pi = 3.14159265358979323846, exact = 0;
    ac_span name = p->token.span;
    advance(p);
    if (is_mark(p, '(')) {
        advance(p);
        return parse_call(p, name);
    }
    ac_symbol *symbol = find_symbol(p, name);
    if (symbol == NULL && length_of(name) == 2 && memcmp(text_of(p, name), "pi", 2) == 0) {
        ac_node *n = new_array(p, name.start, &pi, &exact, (ag_shape){0, {0}});
        if (n != NULL) n->units = NULL; /* not a printed number */
        return n;
    }
    if (symbol == NULL || symbol->kind == AC_DEFINED) {
        bool function = symbol != NULL || ac_function_find(text_of(p, name), length_of(name)) != NULL;
        if (!function) fail_unknown(p, name, false);
        else
            ac_fail(p->error, name, "'%.*s' is a function: its arguments are missing", (int)length_of(name),
                    text_of(p, name));
        return NULL;
    }
    ac_node *n = new_node(p, AC_NAME, name.start);
    if (n == NULL || !add_use(p, symbol)) return NULL;
    n->symbol = symbol;
    n->nesting = symbol->nesting;
    return n;
}

static ac_node *parse_primary(parser *p) {
    if (p->token.kind == AC_DIGITS) return parse_number(p);
    if (p->token.kind == AC_WORD && !is_word(p, "within") && !is_word(p, "from")) return parse_name(p);
    if (is_mark(p, '[')) return parse_list(p);
    if (is_mark(p, '(')) {
        uint32_t start = p->token.span.start;
        advance(p);
        ac_node *n = parse_nested(p);
        if (n == NULL || !expect_mark(p, ')', "')'")) return NULL;
        n->span = (ac_span){start, p->end};
        return n;
    }
    fail_expected(p, "a value");
    if (p->token.kind == AC_END_OF_LINE) ac_hint(p->error, "a line goes on while a bracket is open");
    return NULL;
}

/* One position of an index, or ':', which is NULL. */
static bool parse_position(parser *p, ac_node **position) {
    *position = NULL;
    if (is_mark(p, ':')) {
        advance(p);
        return true;
    }
    *position = parse_nested(p);
    return *position != NULL;
}

static ac_node *parse_index(parser *p, ac_node *operand) {
    ac_node **operands = take(p, 3, sizeof *operands);
    int count = 2;
    if (operands == NULL) return NULL;
    operands[0] = operand;
    advance(p);
    if (!parse_position(p, &operands[1])) return NULL;
    if (is_mark(p, ',')) {
        advance(p);
        count = 3;
        if (!parse_position(p, &operands[2])) return NULL;
    }
    if (!expect_mark(p, ']', count == 2 ? "',' or ']'" : "']'")) return NULL;
    return with_operands(p, AC_INDEX, operand->span.start, operands, count);
}

static ac_node *parse_postfix(parser *p) {
    ac_node *n = parse_primary(p);
    while (n != NULL) {
        if (is_mark(p, '\'')) {
            advance(p);
            n = new_unary(p, AC_TRANSPOSE, n->span.start, n);
        } else if (is_mark(p, '[')) n = parse_index(p, n);
        else break;
    }
    return n;
}

static ac_node *parse_power(parser *p) {
    ac_node *base = parse_postfix(p);
    if (base == NULL || !is_mark(p, '^')) return base;
    advance(p);
    ac_node *exponent = enter(p) ? parse_sign(p) : NULL; /* 2^-1, 2^3^2 */
    p->depth--;
    return new_binary(p, AC_POWER, base, exponent);
}

static ac_node *parse_sign(parser *p) {
    uint32_t start = p->token.span.start;
    if (is_mark(p, '+')) {
        advance(p);
        ac_node *n = enter(p) ? parse_sign(p) : NULL;
        p->depth--;
        return n;
    }
    if (!is_mark(p, '-')) return parse_power(p);
    advance(p);
    ac_node *n = enter(p) ? parse_sign(p) : NULL;
    p->depth--;
    return n == NULL ? NULL : new_unary(p, AC_NEGATE, start, n);
}

static ac_node *parse_matmul(parser *p) {
    ac_node *n = parse_sign(p);
    while (n != NULL && is_mark(p, '@')) {
        advance(p);
        n = new_binary(p, AC_MATMUL, n, parse_sign(p));
    }
    return n;
}

static ac_node *parse_product(parser *p) {
    ac_node *n = parse_matmul(p);
    while (n != NULL && (is_mark(p, '*') || is_mark(p, '/'))) {
        ac_kind kind = is_mark(p, '*') ? AC_MULTIPLY : AC_DIVIDE;
        advance(p);
        n = new_binary(p, kind, n, parse_matmul(p));
    }
    return n;
}

static ac_node *parse_sum(parser *p) {
    ac_node *n = parse_product(p);
    while (n != NULL && (is_mark(p, '+') || is_mark(p, '-'))) {
        ac_kind kind = is_mark(p, '+') ? AC_ADD : AC_SUBTRACT;
        advance(p);
        n = new_binary(p, kind, n, parse_product(p));
    }
    return n;
}

/* ---- statements ------------------------------------------------------------------------------------------------- */

static bool define(parser *p, ac_symbol *s) {
    entry *e = take(p, 1, sizeof *e);
    if (e == NULL) return false;
    s->index = p->symbols.count;
    e->symbol = s;
    HASH_ADD_KEYPTR(hh, p->names, s->name, strlen(s->name), e);
    return e->hh.tbl != NULL ? add(p, &p->symbols, s) : fail_memory(p);
}

static bool parse_value(parser *p, ac_symbol *s) {
    advance(p);
    s->kind = AC_VALUE;
    s->body = parse_sum(p);
    if (s->body == NULL) return false;
    if (p->token.kind == AC_EQUAL) {
        fail_expected(p, "the end of the statement");
        ac_hint(p->error, "a claim starts with check: check EXPR == EXPR");
        return false;
    }
    s->nesting = s->body->nesting;
    return true;
}

static bool parse_arguments(parser *p, ac_symbol *s) {
    int first = p->locals.count;
    advance(p);
    while (!is_mark(p, ')')) {
        if (p->token.kind != AC_WORD || ac_is_keyword(text_of(p, p->token.span), length_of(p->token.span))) {
            fail_expected(p, "the name of an argument: NAME(ARG, ...) = EXPR");
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
        if (open_local(p, p->token.span) == NULL) return false;
        advance(p);
        if (is_mark(p, ')')) break;
        if (!expect_mark(p, ',', "',' or ')'")) return false;
        if (is_mark(p, ')')) return fail_expected(p, "the name of an argument");
    }
    advance(p);
    s->argument_count = p->locals.count - first;
    s->arguments = take(p, (size_t)s->argument_count, sizeof *s->arguments);
    if (s->arguments == NULL) return false;
    if (s->argument_count == 0) return ac_fail(p->error, s->span, "a function without arguments");
    memcpy(s->arguments, p->locals.items + first, (size_t)s->argument_count * sizeof *s->arguments);
    return true;
}

static bool parse_function(parser *p, ac_symbol *s) {
    s->kind = AC_DEFINED;
    if (!parse_arguments(p, s)) return false;
    if (!is_mark(p, '=')) {
        fail_expected(p, "'=': NAME(ARG, ...) = EXPR");
        ac_hint(p->error, "to print a value: show EXPR; to claim something: check EXPR == EXPR");
        return false;
    }
    advance(p);
    s->body = parse_sum(p);
    if (s->body == NULL) return false;
    s->nesting = s->body->nesting;
    return true;
}

static bool parse_distribution(parser *p, ac_symbol *s) {
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
    advance(p);
    while (kind < count && !is_word(p, distributions[kind].name)) kind++;
    ac_span name = p->token.span;
    if (kind == count) {
        fail_expected(p, "a distribution");
        ac_hint(p->error, "normal, uniform, positive, onehot or simplex");
        return false;
    }
    advance(p);
    if (!expect_mark(p, '(', "'('") || !parse_items(p, ')', "',' or ')'")) return false;
    s->kind = AC_QUANTIFIED;
    s->distribution = (ac_distribution)kind;
    s->parameter_count = p->items.count - first;
    if (p->random) return ac_fail(p->error, name, "the shape and limits of '%s' depend on a quantified name", s->name);
    p->random = true;
    s->parameters = keep(p, &p->items, first);
    return s->parameters != NULL && check_count(p, name, s->parameter_count, distributions[kind].least,
                                                distributions[kind].most, distributions[kind].usage);
}

static bool check_new(parser *p, ac_span name) {
    const ac_symbol *old = find_symbol(p, name);
    if (!check_word(p, name)) return false;
    if (old == NULL) return true;
    ac_fail(p->error, name, "'%s' is defined already, in line %lld", old->name,
            (long long)ac_place_of(&p->file->source, old->span.start).line);
    ac_hint(p->error, "a name is defined once: use another, such as %s2", old->name);
    return false;
}

static bool parse_definition(parser *p, ac_statement *statement) {
    ac_span name = p->token.span;
    if (p->token.kind != AC_WORD) return fail_expected(p, "a statement: NAME = EXPR, NAME ~ DIST, check or show");
    advance(p);
    bool value = is_mark(p, '='), function = is_mark(p, '('), quantified = is_mark(p, '~');
    if (!value && !function && !quantified) {
        const char *similar = ac_similar(text_of(p, name), length_of(name), NULL, 0);
        fail_expected(p, "'=', '~' or '(' behind a name");
        if (similar != NULL && (strcmp(similar, "check") == 0 || strcmp(similar, "show") == 0))
            ac_hint(p->error, "did you mean '%s'?", similar);
        else ac_hint(p->error, "a claim starts with check: check EXPR == EXPR");
        return false;
    }
    if (!check_new(p, name)) return false;
    ac_symbol *s = new_symbol(p, AC_VALUE, name);
    if (s == NULL || !(value ? parse_value(p, s) : function ? parse_function(p, s) : parse_distribution(p, s)))
        return false;
    statement->kind = AC_DEFINE;
    statement->symbol = s;
    return true;
}

/* A claim without a label is called by its text. */
static const char *make_label(parser *p, ac_span span) {
    enum { LONGEST = 60 };
    char *label = take(p, LONGEST, 1);
    return label == NULL ? NULL : ac_text_of(&p->file->source, span, label, LONGEST);
}

static bool parse_check(parser *p, ac_statement *s) {
    s->kind = AC_CHECK;
    advance(p);
    if (p->token.kind == AC_STRING) {
        size_t length = length_of(p->token.span);
        char *label = take(p, length + 1, 1);
        if (label == NULL) return false;
        memcpy(label, text_of(p, p->token.span), length);
        s->label = label;
        advance(p);
        if (!expect_mark(p, ':', "':'")) return false;
    }
    uint32_t start = p->token.span.start;
    if ((s->left = parse_sum(p)) == NULL) return false;
    if (p->token.kind != AC_EQUAL) {
        bool single = is_mark(p, '=');
        fail_expected(p, "'=='");
        if (single) ac_hint(p->error, "write == for a claim");
        return false;
    }
    advance(p);
    if ((s->right = parse_sum(p)) == NULL) return false;
    if (s->label == NULL) s->label = make_label(p, (ac_span){start, p->end});
    if (s->label == NULL) return false;
    if (!is_word(p, "within")) return true;
    advance(p);
    bool random = p->random;
    p->random = false;
    if ((s->within = parse_sum(p)) == NULL) return false;
    if (p->random) return ac_fail(p->error, s->within->span, "the tolerance depends on a quantified name");
    p->random = random;
    return true;
}

static bool parse_show(parser *p, ac_statement *s) {
    s->kind = AC_SHOW;
    advance(p);
    s->left = parse_sum(p);
    return s->left != NULL;
}

static bool parse_statement(parser *p, ac_statement *s) {
    uint32_t start = p->token.span.start;
    p->uses.count = p->locals.count = p->items.count = p->frame_size = p->depth = 0;
    p->random = false;
    s->line = p->lexer.line;
    bool fine = is_word(p, "check")  ? parse_check(p, s)
                : is_word(p, "show") ? parse_show(p, s)
                                     : parse_definition(p, s);
    if (!fine) return false;
    if (!is_line_end(p)) return fail_expected(p, "the end of the line");
    s->span = (ac_span){start, p->end};
    s->random = p->random;
    s->frame_size = p->frame_size;
    s->use_count = p->uses.count;
    s->uses = keep(p, &p->uses, 0);
    if (s->uses == NULL) return false;
    if (s->kind != AC_DEFINE) return true;
    s->symbol->random = s->random;
    s->symbol->frame_size = s->frame_size;
    if (!define(p, s->symbol)) return false;
    s->symbol->uses = s->uses;
    s->symbol->use_count = s->use_count;
    return true;
}

static bool parse_statements(parser *p) {
    advance(p);
    for (;;) {
        while (p->token.kind == AC_END_OF_LINE) advance(p);
        if (p->token.kind == AC_END_OF_FILE) return !p->error->set;
        if (p->statements.count == AC_MAX_STATEMENTS)
            return ac_fail(p->error, p->token.span, "more than %d statements", AC_MAX_STATEMENTS);
        ac_statement *s = take(p, 1, sizeof *s);
        if (s == NULL || !parse_statement(p, s) || !add(p, &p->statements, s)) return false;
    }
}

static void finish(parser *p) {
    ac_file *f = p->file;
    HASH_CLEAR(hh, p->names);
    f->symbol_count = p->symbols.count;
    f->symbols = keep(p, &p->symbols, 0);
    f->statement_count = p->statements.count;
    f->statements = keep(p, &p->statements, 0);
    if (f->symbols == NULL) f->symbol_count = 0;
    if (f->statements == NULL) f->statement_count = 0;
    nn_release(p->statements.items);
    nn_release(p->symbols.items);
    nn_release(p->locals.items);
    nn_release(p->uses.items);
    nn_release(p->items.items);
    nn_release(p->numbers);
}

bool ac_is_literal(const ac_node *node) {
    while (node->kind == AC_NEGATE) node = node->operands[0];
    return (node->kind == AC_NUMBER || node->kind == AC_ARRAY) && node->units != NULL;
}

ac_file *ac_parse(const char *name, const char *text, size_t size, ac_limits limits) {
    if (limits.bytes == 0) limits.bytes = (size_t)1 << 30;
    if (!(limits.seconds > 0)) limits.seconds = 60;
    ac_arena *arena = ac_arena_new(limits.bytes);
    ac_file *f = arena == NULL ? NULL : ac_arena_take(arena, 1, sizeof *f);
    char *copied = f == NULL ? NULL : ac_arena_take(arena, strlen(name) + 1, 1);
    if (copied == NULL) {
        ac_arena_free(arena);
        return NULL;
    }
    f->arena = arena;
    f->limits = limits;
    f->deadline = ac_clock() + limits.seconds;
    f->source = (ac_source){strcpy(copied, name), "", 0};
    if (size > AC_MAX_BYTES) {
        ac_fail(&f->error, (ac_span){0, 0}, "the file has more than %d bytes", AC_MAX_BYTES);
        return f;
    }
    char *copy = ac_arena_take(arena, size + 1, 1);
    if (copy == NULL) {
        ac_fail(&f->error, (ac_span){0, 0}, "out of memory");
        return f;
    }
    if (size > 0) memcpy(copy, text, size);
    f->source.text = copy;
    f->source.size = size;
    bool marked = size >= 3 && memcmp(copy, "\xEF\xBB\xBF", 3) == 0; /* a byte order mark */
    parser p = {.file = f, .error = &f->error, .lexer = {&f->source, &f->error, marked ? 3 : 0, 1, 0}};
    parse_statements(&p);
    finish(&p);
    return f;
}

void ac_file_free(ac_file *file) {
    if (file != NULL) ac_arena_free(file->arena);
}
