/* Names as a mathematician writes them. */
#include "nn/check/html/html_impl.h"

/* The parts of a name. All but the letter may be empty. */
typedef struct parts {
    const char *letter; /* of one or more characters */
    size_t length;
    const char *greek;         /* what the letter is called, or NULL */
    const char *accent;        /* above it, or NULL */
    const char *digits, *rest; /* its subscript: digits, and what is behind '_' */
    size_t digits_length, rest_length;
} parts;

static const char hat[] = "^", bar[] = "¯", tilde[] = "~", dot[] = "˙", dots[] = "¨";

static const struct {
    const char *word, *letter;
} greek[] = {
    {"alpha", "α"}, {"beta", "β"},  {"gamma", "γ"}, {"delta", "δ"}, {"epsilon", "ε"}, {"eps", "ε"}, {"zeta", "ζ"},
    {"eta", "η"},   {"theta", "θ"}, {"iota", "ι"},  {"kappa", "κ"}, {"lambda", "λ"},  {"mu", "μ"},  {"nu", "ν"},
    {"xi", "ξ"},    {"rho", "ρ"},   {"sigma", "σ"}, {"tau", "τ"},   {"phi", "φ"},     {"chi", "χ"}, {"psi", "ψ"},
    {"omega", "ω"}, {"Gamma", "Γ"}, {"Delta", "Δ"}, {"Theta", "Θ"}, {"Lambda", "Λ"},  {"Xi", "Ξ"},  {"Pi", "Π"},
    {"Sigma", "Σ"}, {"Phi", "Φ"},   {"Psi", "Ψ"},   {"Omega", "Ω"},
};

static const struct {
    const char *word, *sign;
} accent_words[] = {{"hat", hat}, {"bar", bar}, {"tilde", tilde}, {"dot", dot}};

static const struct {
    uint32_t code;
    const char *sign;
} combining[] = {{0x302, hat}, {0x303, tilde}, {0x304, bar}, {0x305, bar}, {0x307, dot}, {0x308, dots}};

/* Letters with their accent in one character. */
static const struct {
    const char *letters, *plain, *sign;
} composed[] = {
    {"âĉêĝĥîĵôŝûŵŷẑÂĈÊĜĤÎĴÔŜÛŴŶẐ", "aceghijosuwyzACEGHIJOSUWYZ", hat},
    {"ãẽĩñõũṽỹÃẼĨÑÕŨṼỸ", "aeinouvyAEINOUVY", tilde},
    {"āēīōūȳĀĒĪŌŪȲ", "aeiouyAEIOUY", bar},
    {"ȧḃċḋėḟġḣṁṅṗṙṡṫẇẋẏż", "abcdefghmnprstwxyz", dot},
};

static size_t characters(const char *text, size_t length) {
    size_t count = 0;
    for (size_t i = 0; i < length; i++) count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static const char *greek_letter(const char *word, size_t length) {
    for (size_t i = 0; i < sizeof greek / sizeof greek[0]; i++)
        if (strlen(greek[i].word) == length && memcmp(greek[i].word, word, length) == 0) return greek[i].letter;
    return NULL;
}

/* "1" at the end of x1, and of x₁. */
static void split_digits(parts *p) {
    size_t n = p->length;
    while (n > 1 && is_digit(p->letter[n - 1])) n--;
    if (n == p->length)
        while (n > 3 && memcmp(p->letter + n - 3, "\xE2\x82", 2) == 0) n -= 3;
    p->digits = p->letter + n;
    p->digits_length = p->length - n;
    p->length = n;
}

/* "hat" at the end of yhat, or behind y_; anything longer than a letter is a word that ends like that. */
static void split_accent_word(parts *p) {
    for (size_t i = 0; i < sizeof accent_words / sizeof accent_words[0]; i++) {
        const char *word = accent_words[i].word;
        size_t n = strlen(word);
        bool alone = p->rest_length == n && memcmp(p->rest, word, n) == 0;
        bool behind = p->length > n && memcmp(p->letter + p->length - n, word, n) == 0;
        size_t left = p->length - (alone || !behind ? 0 : n);
        if (!(alone || behind) || (characters(p->letter, left) > 1 && greek_letter(p->letter, left) == NULL)) continue;
        p->accent = accent_words[i].sign;
        p->length = left;
        if (alone) p->rest_length = 0;
        return;
    }
}

static void split_accent_character(parts *p) {
    uint32_t first = 0, second = 0;
    int length = ac_decode(p->letter, p->length, &first);
    if (length == 0) return;
    int next = ac_decode(p->letter + length, p->length - (size_t)length, &second);
    for (size_t i = 0; i < sizeof combining / sizeof combining[0] && next > 0; i++)
        if (combining[i].code == second && p->length == (size_t)(length + next)) {
            p->accent = combining[i].sign;
            p->length = (size_t)length;
            return;
        }
    for (size_t i = 0; i < sizeof composed / sizeof composed[0] && p->length == (size_t)length; i++) {
        const char *found =
            strstr(composed[i].letters, (char[]){p->letter[0], p->letter[1], length > 2 ? p->letter[2] : 0, 0});
        if (length < 2 || found == NULL) continue;
        p->accent = composed[i].sign;
        p->letter = composed[i].plain + characters(composed[i].letters, (size_t)(found - composed[i].letters));
        p->length = 1;
        return;
    }
}

static parts split(const char *name) {
    size_t length = strlen(name);
    const char *line = length > 1 ? strchr(name + 1, '_') : NULL;
    parts p = {.letter = name, .length = line == NULL ? length : (size_t)(line - name)};
    if (line != NULL && line[1] != '\0') {
        p.rest = line + 1;
        p.rest_length = length - p.length - 1;
    } else p.length = length;
    split_digits(&p);
    split_accent_word(&p);
    if (p.accent == NULL) split_accent_character(&p);
    p.greek = greek_letter(p.letter, p.length);
    return p;
}

bool ac_html_name_is_long(const char *name) {
    parts p = split(name);
    return p.greek == NULL && characters(p.letter, p.length) > 1;
}

bool ac_html_name_has_subscript(const char *name) {
    parts p = split(name);
    return p.digits_length + p.rest_length > 0;
}

static void put_digits(FILE *out, const char *digits, size_t length) {
    fputs("<mn>", out);
    if (is_digit(digits[0])) ac_html_text(out, digits, length);
    else
        for (size_t i = 2; i < length; i += 3) fputc('0' + ((unsigned char)digits[i] - 0x80) % 10, out); /* ₀ to ₉ */
    fputs("</mn>", out);
}

/* What is behind '_': one subscript for each. */
static void put_rest(FILE *out, const char *rest, size_t length) {
    for (size_t start = 0, i = 0; i <= length; i++) {
        if (i < length && rest[i] != '_') continue;
        const char *letter = greek_letter(rest + start, i - start);
        if (start > 0) fputs("<mo>,</mo>", out);
        fputs("<mi>", out);
        if (letter != NULL) fputs(letter, out);
        else ac_html_text(out, rest + start, i - start);
        fputs("</mi>", out);
        start = i + 1;
    }
}

void ac_html_name(FILE *out, const char *name) {
    parts p = split(name);
    bool subscript = p.digits_length + p.rest_length > 0;
    if (subscript) fputs("<msub>", out);
    if (p.accent != NULL) fputs("<mover accent=\"true\">", out);
    fputs("<mi>", out);
    if (p.greek != NULL) fputs(p.greek, out);
    else ac_html_text(out, p.letter, p.length);
    fputs("</mi>", out);
    if (p.accent != NULL) fprintf(out, "<mo>%s</mo></mover>", p.accent);
    if (!subscript) return;
    fputs("<mrow>", out);
    if (p.digits_length > 0) put_digits(out, p.digits, p.digits_length);
    if (p.digits_length > 0 && p.rest_length > 0) fputs("<mo>,</mo>", out);
    if (p.rest_length > 0) put_rest(out, p.rest, p.rest_length);
    fputs("</mrow></msub>", out);
}
