// Runs the module "switched" for some cycles: each takes WORDS 32-bit words from a file and writes
// 64 bits of output. The activity of every net is sampled once a cycle, when all is settled.

#include <cstdint>
#include <cstdio>
#include <memory>

#include "Vtop.h"
#include "verilated.h"
#include "verilated_saif_c.h"

int main(int argc, char** argv) {
    if (argc != 4) return 2;  // INPUT OUTPUT ACTIVITY.saif
    VerilatedContext context;
    context.traceEverOn(true);
    Vtop top(&context, "top");
    VerilatedSaifC trace;
    top.trace(&trace, 99);
    trace.open(argv[3]);
    std::FILE* input = std::fopen(argv[1], "rb");
    std::FILE* output = std::fopen(argv[2], "wb");
    if (!input || !output || !trace.isOpen()) return 3;
    uint32_t words[WORDS];
    for (uint64_t cycle = 0; std::fread(words, sizeof words, 1, input) == 1; ++cycle) {
        for (unsigned word = 0; word < WORDS; ++word) top.i[word] = words[word];
        top.clk = 0;
        top.eval();
        trace.dump(cycle);
        const uint64_t value = top.o;
        if (std::fwrite(&value, sizeof value, 1, output) != 1) return 4;
        top.clk = 1;
        top.eval();
    }
    trace.close();
    std::fclose(input);
    return std::fclose(output) == 0 ? 0 : 4;
}
