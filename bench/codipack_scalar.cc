// The scalar tape beside CoDiPack's Jacobian tape (codi::RealReverse, as it comes), built where CMake is told its
// CODIPACK_INCLUDE_DIR.
#include <codi.hpp>

#include "scalar_beside.h"

namespace {

struct Codipack {
    using Number = codi::RealReverse;
    Number x[DET_MAX * DET_MAX], y;
    int inputs = 0;

    explicit Codipack(size_t) {}

    template <class F> double record(const double *input, int count, F function) {
        auto &tape = Number::getTape();
        tape.reset();
        tape.setActive();
        inputs = count;
        for (int i = 0; i < count; i++) {
            x[i] = input[i];
            tape.registerInput(x[i]);
        }
        y = function(x);
        tape.registerOutput(y);
        tape.setPassive();
        return y.getValue();
    }
    void sweep(double *gradient) {
        y.setGradient(1);
        Number::getTape().evaluate();
        for (int i = 0; i < inputs; i++) gradient[i] = x[i].getGradient();
    }
    // Statements (an argument count each) and Jacobians with their indices; a variable holds its own value.
    double bytes() {
        auto &tape = Number::getTape();
        return 1.0 * static_cast<double>(tape.getParameter(codi::TapeParameters::StatementSize)) +
               12.0 * static_cast<double>(tape.getParameter(codi::TapeParameters::JacobianSize));
    }
};

void chain(int steps, int rounds) {
    const beside::Form forms[2] = {beside::CHAIN, beside::CHAIN_OF_STATEMENTS};
    const char *const names[2] = {"CoDiPack: a step is an expression", "CoDiPack: an operation at a time"};
    beside::compare_chain<Codipack>(steps, rounds, forms, names, 2);
}

} // namespace

int main() {
    bench_title("Scalar tape beside CoDiPack: recorded and swept every time",
                "an operation's ns and bytes (instructions and values, f64)");
    beside::compare_det<Codipack>(8, 31, "CoDiPack");
    beside::compare_det<Codipack>(9, 15, "CoDiPack");
    beside::compare_det<Codipack>(10, 5, "CoDiPack");
    chain(12500, 31);
    chain(125000, 15);
    return 0;
}
