/* Words into expressions, by recursive descent. */
#include "nn/check/functions.h"
#include "nn/check/parser_impl.h"

static ac_node *parse_sign(ac_parser *p);

static ac_node *new_node(ac_parser *p, ac_kind kind, uint32_t start) {
    ac_node *n = ac_take(p, 1, sizeof *n);
    if (n == NULL) return NULL;
    n->kind = kind;
    n->span = (ac_span){start, p->end};
    n->depth = 1;
    return n;
}

/* A node of operands; an operand may be NULL in an index only. */
static ac_node *with_operands(ac_parser *p, ac_kind kind, uint32_t start, ac_node **operands, int count) {
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
    if (n->nesting > p->nesting) p->nesting = n->nesting;
    if (n->depth <= AC_MAX_DEPTH) return n;
    ac_fail(p->error, n->span, "an expression nested more than %d deep", AC_MAX_DEPTH);
    ac_hint(p->error, "define parts of it as names");
    return NULL;
}

static ac_node *new_unary(ac_parser *p, ac_kind kind, uint32_t start, ac_node *operand) {
    ac_node **operands = ac_take(p, 1, sizeof *operands);
    if (operands == NULL || operand == NULL) return NULL;
    operands[0] = operand;
    return with_operands(p, kind, start, operands, 1);
}

static ac_node *new_binary(ac_parser *p, ac_kind kind, ac_node *left, ac_node *right) {
    ac_node **operands = ac_take(p, 2, sizeof *operands);
    if (operands == NULL || left == NULL || right == NULL) return NULL;
    operands[0] = left;
    operands[1] = right;
    return with_operands(p, kind, left->span.start, operands, 2);
}

/* Deeper than the parser's own stack should go. */
static bool enter(ac_parser *p) {
    if (++p->depth <= AC_MAX_DEPTH) return true;
    ac_fail(p->error, p->token.span, "brackets, signs or powers nested more than %d deep", AC_MAX_DEPTH);
    return false;
}

/* Where a bracket is that is still open, if that is not in the line of the error. */
static void *hint_open(ac_parser *p, uint32_t bracket) {
    const ac_source *s = &p->file->source;
    ac_place open = ac_place_of(s, bracket), error = ac_place_of(s, p->error->span.start);
    bool behind = p->token.kind == AC_END_OF_FILE || p->token.kind == AC_END_OF_LINE;
    if (p->error->set && *p->error->hint == '\0' && (behind || open.line != error.line))
        ac_hint(p->error, "the '%c' of line %lld, column %lld is still open", s->text[bracket], (long long)open.line,
                (long long)open.column);
    return NULL;
}

static ac_node *parse_nested(ac_parser *p) {
    ac_node *n = enter(p) ? ac_parse_sum(p) : NULL;
    p->depth--;
    return n;
}

static ac_node *new_array(ac_parser *p, uint32_t start, const double *values, const double *units, ag_shape shape) {
    ac_node *n = new_node(p, shape.rank == 0 ? AC_NUMBER : AC_ARRAY, start);
    size_t count = 1;
    for (int i = 0; i < shape.rank; i++) count *= (size_t)shape.dim[i];
    double *numbers = ac_take(p, 2 * count, sizeof *numbers);
    if (n == NULL || numbers == NULL) return NULL;
    memcpy(numbers, values, count * sizeof *numbers);
    memcpy(numbers + count, units, count * sizeof *numbers);
    n->shape = shape;
    n->values = numbers;
    n->units = numbers + count;
    return n;
}

static ac_node *parse_number(ac_parser *p) {
    ac_token t = p->token;
    ac_advance(p);
    return new_array(p, t.span.start, &t.value, &t.unit, (ag_shape){0, {0}});
}

static bool add_number(ac_parser *p, double value, double unit) {
    if (p->number_count == AC_MAX_NUMBERS)
        return ac_fail(p->error, p->token.span, "an array of more than %d numbers", AC_MAX_NUMBERS);
    if (p->number_count == p->number_capacity) {
        size_t capacity = p->number_capacity > 0 ? 2 * p->number_capacity : 64;
        double *numbers = nn_allocate(capacity, 2 * sizeof *numbers);
        if (numbers == NULL) return ac_fail_memory(p);
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
static bool read_row(ac_parser *p) {
    for (;;) {
        bool minus = false;
        for (; is_mark(p, '-') || is_mark(p, '+'); ac_advance(p)) minus = minus != is_mark(p, '-');
        if (p->token.kind != AC_DIGITS || !add_number(p, minus ? -p->token.value : p->token.value, p->token.unit))
            return false;
        ac_advance(p);
        bool end = is_mark(p, ']');
        if (!end && !is_mark(p, ',')) return false;
        ac_advance(p);
        if (end) return true;
    }
}

/* Rows of numbers of one length, and the bracket that closes the matrix. */
static bool read_rows(ac_parser *p, ag_shape *shape) {
    for (;;) {
        size_t before = p->number_count;
        uint32_t start = p->token.span.start;
        if (!is_mark(p, '[')) return false;
        ac_advance(p);
        if (!read_row(p)) return false;
        int64_t length = (int64_t)(p->number_count - before);
        if (shape->dim[0]++ == 0) shape->dim[1] = length;
        if (length != shape->dim[1])
            return ac_fail(p->error, (ac_span){start, p->end}, "row %lld has %lld number%s, row 1 has %lld",
                           (long long)shape->dim[0], (long long)length, length == 1 ? "" : "s",
                           (long long)shape->dim[1]);
        bool end = is_mark(p, ']');
        if (!end && !is_mark(p, ',')) return false;
        ac_advance(p);
        if (end) return true;
    }
}

/* A vector or matrix of nothing but numbers, behind its first bracket, into p->numbers. False, and nothing is read, if it
 * is something else. */
static bool read_array(ac_parser *p, ag_shape *shape) {
    ac_parser before = *p;
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

bool ac_parse_items(ac_parser *p, char close, const char *expected) {
    while (!is_mark(p, close)) {
        ac_node *n = parse_nested(p);
        if (n == NULL || !ac_add(p, &p->items, n)) return false;
        if (is_mark(p, close)) break;
        if (!ac_expect_mark(p, ',', expected)) return false;
        if (is_mark(p, close)) return ac_fail_expected(p, "a value behind ','");
    }
    ac_advance(p);
    return true;
}

/* Printed numbers that stand in brackets of their own, or vectors of them, are an array all the same; false: something
 * else is among them. */
static bool read_literals(ac_parser *p, ac_node *const *items, int count, ag_shape *shape) {
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

static ac_node *parse_list(ac_parser *p) {
    uint32_t start = p->token.span.start;
    int first = p->items.count;
    ag_shape shape;
    ac_advance(p);
    if (is_mark(p, ']')) {
        ac_fail(p->error, (ac_span){start, p->token.span.end}, "an empty vector");
        return NULL;
    }
    if (read_array(p, &shape)) return new_array(p, start, p->numbers, p->units, shape);
    if (p->error->set) return NULL;
    if (!ac_parse_items(p, ']', "',' or ']'")) return hint_open(p, start);
    int count = p->items.count - first;
    ac_node **operands = ac_keep(p, &p->items, first);
    if (operands == NULL) return NULL;
    if (read_literals(p, operands, count, &shape)) return new_array(p, start, p->numbers, p->units, shape);
    return p->error->set ? NULL : with_operands(p, AC_LIST, start, operands, count);
}

/* What derivatives are taken by: a name, or an entry or slice of one. */
static bool is_variable(const ac_node *n) {
    while (n->kind == AC_INDEX) n = n->operands[0];
    return n->kind == AC_NAME;
}

static ac_node *parse_derivative(ac_parser *p, ac_kind kind, ac_span name, uint32_t open) {
    int first = p->items.count;
    if (!ac_parse_items(p, ')', "',' or ')'")) return hint_open(p, open);
    int count = p->items.count - first;
    if (count != 2) {
        ac_fail(p->error, name, "%.*s takes 2 arguments, a function and a name, not %d", (int)length_of(name),
                text_of(p, name), count);
        return NULL;
    }
    ac_node **operands = ac_keep(p, &p->items, first);
    if (operands == NULL) return NULL;
    if (is_variable(operands[1])) return with_operands(p, kind, name.start, operands, 2);
    ac_fail(p->error, operands[1]->span, "derivatives are taken by a name, or an entry or slice of one");
    ac_hint(p->error, "give this expression a name above");
    return NULL;
}

/* The name behind "solve(EXPR == EXPR," which the equation uses before it is reached. */
static bool find_unknown_name(ac_parser *p, ac_span *name) {
    ac_parser before = *p;
    for (int open = 0; p->token.kind != AC_END_OF_FILE && !(open == 0 && is_mark(p, ',')); ac_advance(p)) {
        if (is_mark(p, '(') || is_mark(p, '[')) open++;
        if ((is_mark(p, ')') || is_mark(p, ']')) && open-- == 0) break;
    }
    bool found = is_mark(p, ',');
    if (found) {
        ac_advance(p);
        found = p->token.kind == AC_WORD;
        *name = p->token.span;
    }
    if (p->error->set) return false;
    if (!found) return ac_fail_expected(p, "', NAME from NUMBER': solve(EXPR == EXPR, NAME from NUMBER)");
    p->lexer = before.lexer;
    p->token = before.token;
    p->end = before.end;
    return true;
}

static ac_node *parse_solve(ac_parser *p, ac_span word) {
    ac_span name;
    ac_node **operands = ac_take(p, 3, sizeof *operands);
    if (operands == NULL || !find_unknown_name(p, &name) || !ac_check_word(p, name)) return NULL;
    ac_symbol *unknown = ac_open_local(p, name);
    if (unknown == NULL || (operands[0] = parse_nested(p)) == NULL) return NULL;
    if (p->token.kind != AC_EQUAL) {
        ac_fail_expected(p, "'=='");
        return NULL;
    }
    ac_advance(p);
    if ((operands[1] = parse_nested(p)) == NULL || !ac_expect_mark(p, ',', "','")) return NULL;
    ac_advance(p); /* the name */
    p->locals.count--;
    if (!is_word(p, "from")) {
        ac_fail_expected(p, "'from'");
        return NULL;
    }
    ac_advance(p);
    if ((operands[2] = parse_nested(p)) == NULL || !ac_expect_mark(p, ')', "')'")) return NULL;
    ac_node *n = with_operands(p, AC_SOLVE, word.start, operands, 3);
    if (n != NULL) n->symbol = unknown;
    return n;
}

bool ac_check_count(ac_parser *p, ac_span name, int count, int least, int most, const char *usage) {
    if (count >= least && count <= most) return true;
    ac_fail(p->error, name, "%.*s takes %d%s%.0d argument%s, not %d", (int)length_of(name), text_of(p, name), least,
            most > least ? " or " : "", most > least ? most : 0, most == 1 ? "" : "s", count);
    if (usage != NULL) ac_hint(p->error, "%s", usage);
    return false;
}

/* Behind the opening bracket. */
static ac_node *parse_call(ac_parser *p, ac_span name, uint32_t open) {
    static const char *const derivatives[] = {"grad", "jac", "hess"};
    size_t length = length_of(name);
    for (int i = 0; i < 3; i++)
        if (strlen(derivatives[i]) == length && memcmp(derivatives[i], text_of(p, name), length) == 0)
            return parse_derivative(p, (ac_kind)(AC_GRAD + i), name, open);
    if (length == 5 && memcmp("solve", text_of(p, name), 5) == 0) return parse_solve(p, name);
    ac_symbol *symbol = ac_find_symbol(p, name);
    const ac_function *function = symbol == NULL ? ac_function_find(text_of(p, name), length) : NULL;
    if (symbol == NULL && function == NULL) {
        ac_fail_unknown(p, name, true);
        return NULL;
    }
    if (symbol != NULL && symbol->kind != AC_DEFINED) {
        ac_fail(p->error, name, "'%s' is not a function", symbol->name);
        ac_hint(p->error, "write * for a product");
        return NULL;
    }
    int first = p->items.count;
    if (!ac_parse_items(p, ')', "',' or ')'")) return hint_open(p, open);
    int count = p->items.count - first;
    bool fits = symbol != NULL ? ac_check_count(p, name, count, symbol->argument_count, symbol->argument_count, NULL)
                               : ac_check_count(p, name, count, function->least, function->most, function->usage);
    ac_node **operands = ac_keep(p, &p->items, first);
    if (!fits || operands == NULL || (symbol != NULL && !ac_add_use(p, symbol))) return NULL;
    ac_node *n = with_operands(p, symbol != NULL ? AC_APPLY : AC_CALL, name.start, operands, count);
    if (n == NULL) return NULL;
    n->symbol = symbol;
    n->function = function;
    if (symbol != NULL) n->nesting += symbol->nesting;
    if (n->nesting > AC_MAX_NESTING) n->nesting = AC_MAX_NESTING;
    if (n->nesting > p->nesting) p->nesting = n->nesting;
    return n;
}

static ac_node *parse_name(ac_parser *p) {
    static const double pi = 3.14159265358979323846, exact = 0;
    ac_span name = p->token.span;
    ac_advance(p);
    if (is_mark(p, '(')) {
        uint32_t open = p->token.span.start;
        ac_advance(p);
        return parse_call(p, name, open);
    }
    ac_symbol *symbol = ac_find_symbol(p, name);
    if (symbol == NULL && length_of(name) == 2 && memcmp(text_of(p, name), "pi", 2) == 0) {
        ac_node *n = new_array(p, name.start, &pi, &exact, (ag_shape){0, {0}});
        if (n != NULL) n->units = NULL; /* not a printed number */
        return n;
    }
    if (symbol == NULL || symbol->kind == AC_DEFINED) {
        bool function = symbol != NULL || ac_function_find(text_of(p, name), length_of(name)) != NULL;
        if (!function) ac_fail_unknown(p, name, false);
        else
            ac_fail(p->error, name, "'%.*s' is a function: its arguments are missing", (int)length_of(name),
                    text_of(p, name));
        return NULL;
    }
    ac_node *n = new_node(p, AC_NAME, name.start);
    if (n == NULL || !ac_add_use(p, symbol)) return NULL;
    n->symbol = symbol;
    n->nesting = symbol->nesting;
    return n;
}

static ac_node *parse_primary(ac_parser *p) {
    if (p->token.kind == AC_DIGITS) return parse_number(p);
    if (p->token.kind == AC_WORD && !is_word(p, "within") && !is_word(p, "from")) return parse_name(p);
    if (is_mark(p, '[')) return parse_list(p);
    if (is_mark(p, '(')) {
        uint32_t start = p->token.span.start;
        ac_advance(p);
        ac_node *n = parse_nested(p);
        if (n == NULL || !ac_expect_mark(p, ')', "')'")) return hint_open(p, start);
        n->span = (ac_span){start, p->end};
        return n;
    }
    ac_fail_expected(p, "a value");
    if (is_mark(p, '*')) ac_hint(p->error, "a power is written with ^");
    if (p->token.kind == AC_END_OF_LINE) ac_hint(p->error, "a line goes on while a bracket is open");
    return NULL;
}

/* One position of an index, or ':', which is NULL. */
static bool parse_position(ac_parser *p, ac_node **position) {
    *position = NULL;
    if (is_mark(p, ':')) {
        ac_advance(p);
        return true;
    }
    *position = parse_nested(p);
    return *position != NULL;
}

static ac_node *parse_index(ac_parser *p, ac_node *operand) {
    ac_node **operands = ac_take(p, 3, sizeof *operands);
    int count = 2;
    if (operands == NULL) return NULL;
    operands[0] = operand;
    ac_advance(p);
    if (!parse_position(p, &operands[1])) return NULL;
    if (is_mark(p, ',')) {
        ac_advance(p);
        count = 3;
        if (!parse_position(p, &operands[2])) return NULL;
    }
    if (!ac_expect_mark(p, ']', count == 2 ? "',' or ']'" : "']'")) return NULL;
    return with_operands(p, AC_INDEX, operand->span.start, operands, count);
}

static ac_node *parse_postfix(ac_parser *p) {
    ac_node *n = parse_primary(p);
    while (n != NULL) {
        if (is_mark(p, '\'')) {
            ac_advance(p);
            n = new_unary(p, AC_TRANSPOSE, n->span.start, n);
        } else if (is_mark(p, '[')) n = parse_index(p, n);
        else break;
    }
    return n;
}

static ac_node *parse_power(ac_parser *p) {
    ac_node *base = parse_postfix(p);
    if (base == NULL || !is_mark(p, '^')) return base;
    ac_advance(p);
    ac_node *exponent = enter(p) ? parse_sign(p) : NULL; /* 2^-1, 2^3^2 */
    p->depth--;
    return new_binary(p, AC_POWER, base, exponent);
}

static ac_node *parse_sign(ac_parser *p) {
    uint32_t start = p->token.span.start;
    if (is_mark(p, '+')) {
        ac_advance(p);
        ac_node *n = enter(p) ? parse_sign(p) : NULL;
        p->depth--;
        return n;
    }
    if (!is_mark(p, '-')) return parse_power(p);
    ac_advance(p);
    ac_node *n = enter(p) ? parse_sign(p) : NULL;
    p->depth--;
    return n == NULL ? NULL : new_unary(p, AC_NEGATE, start, n);
}

static ac_node *parse_matmul(ac_parser *p) {
    ac_node *n = parse_sign(p);
    while (n != NULL && is_mark(p, '@')) {
        ac_advance(p);
        n = new_binary(p, AC_MATMUL, n, parse_sign(p));
    }
    return n;
}

static ac_node *parse_product(ac_parser *p) {
    ac_node *n = parse_matmul(p);
    while (n != NULL && (is_mark(p, '*') || is_mark(p, '/'))) {
        ac_kind kind = is_mark(p, '*') ? AC_MULTIPLY : AC_DIVIDE;
        ac_advance(p);
        n = new_binary(p, kind, n, parse_matmul(p));
    }
    return n;
}

ac_node *ac_parse_sum(ac_parser *p) {
    ac_node *n = parse_product(p);
    while (n != NULL && (is_mark(p, '+') || is_mark(p, '-'))) {
        ac_kind kind = is_mark(p, '+') ? AC_ADD : AC_SUBTRACT;
        ac_advance(p);
        n = new_binary(p, kind, n, parse_product(p));
    }
    return n;
}
