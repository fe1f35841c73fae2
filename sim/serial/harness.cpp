// The world around a board in simulation: a clock, a reset button, and a computer's end of the
// serial line. Loaded from Python with ctypes.

#include <cstdint>
#include <deque>
#include <memory>

#include "Vtop.h"
#include "verilated.h"

#define API extern "C" __attribute__((visibility("default")))

namespace {

constexpr unsigned BITS = 10;  // start, eight of data, stop

class Board {
  public:
    Board() : top_(new Vtop(&context_)) {
        top_->clk = 0;
        top_->rst = 0;
        top_->rx = 1;
        top_->eval();
    }
    ~Board() { top_->final(); }

    void set_divisor(uint32_t divisor) { divisor_ = divisor; }

    void press(uint64_t cycles) {
        top_->rst = 1;
        run(cycles);
        top_->rst = 0;
    }

    // The line is low for that long, then high for as long; what was on its way is lost.
    void send_break(uint64_t cycles) {
        sending_.clear();
        send_left_ = 0;
        broken_ = true;
        run(cycles);
        broken_ = false;
        run(cycles);
        received_.clear();
    }

    void write(const uint8_t* data, uint64_t count) {
        sending_.insert(sending_.end(), data, data + count);
    }

    // Runs until that many bytes are there, or for `patience` cycles in which nothing moves.
    uint64_t read(uint8_t* data, uint64_t count, uint64_t patience) {
        uint64_t idle = 0;
        while (received_.size() < count && idle < patience) {
            const size_t before = received_.size();
            cycle();
            const bool moved = received_.size() != before || send_left_ || !sending_.empty();
            idle = moved ? 0 : idle + 1;
        }
        uint64_t given = 0;
        for (; given < count && !received_.empty(); ++given) {
            data[given] = received_.front();
            received_.pop_front();
        }
        return given;
    }

    void run(uint64_t cycles) {
        while (cycles--) cycle();
    }

    uint64_t cycles() const { return now_; }
    unsigned leds() const { return top_->led; }

  private:
    void cycle() {
        drive();
        top_->clk = 0;
        top_->eval();
        top_->clk = 1;
        top_->eval();
        listen();
        ++now_;
    }

    void drive() {
        if (send_left_) {
            if (--send_timer_ == 0) {
                send_timer_ = divisor_;
                --send_left_;
                frame_ >>= 1;
            }
        }
        if (!send_left_ && !sending_.empty()) {
            frame_ = 1u << (BITS - 1) | unsigned(sending_.front()) << 1;
            sending_.pop_front();
            send_left_ = BITS;
            send_timer_ = divisor_;
        }
        top_->rx = broken_ ? 0 : send_left_ ? frame_ & 1 : 1;
    }

    void listen() {
        if (!receive_left_) {
            if (!top_->tx) {
                receive_left_ = BITS;
                receive_timer_ = divisor_ / 2;
                byte_ = 0;
            }
        } else if (--receive_timer_ == 0) {
            receive_timer_ = divisor_;
            --receive_left_;
            if (receive_left_ == 0) {
                // A byte without its stop bit is lost, as on a real line.
                if (top_->tx) received_.push_back(byte_);
            } else if (receive_left_ < BITS - 1) {
                byte_ = byte_ >> 1 | (top_->tx ? 0x80 : 0);
            }
        }
    }

    VerilatedContext context_;
    std::unique_ptr<Vtop> top_;
    uint32_t divisor_ = 16;
    std::deque<uint8_t> sending_, received_;
    unsigned frame_ = 0, send_left_ = 0, receive_left_ = 0;
    uint32_t send_timer_ = 0, receive_timer_ = 0;
    uint8_t byte_ = 0;
    bool broken_ = false;
    uint64_t now_ = 0;
};

}  // namespace

API Board* nbqnn_new() { return new Board; }
API void nbqnn_delete(Board* board) { delete board; }
API void nbqnn_divisor(Board* board, uint32_t divisor) { board->set_divisor(divisor); }
API void nbqnn_press(Board* board, uint64_t cycles) { board->press(cycles); }
API void nbqnn_break(Board* board, uint64_t cycles) { board->send_break(cycles); }
API void nbqnn_write(Board* board, const uint8_t* data, uint64_t count) {
    board->write(data, count);
}
API uint64_t nbqnn_read(Board* board, uint8_t* data, uint64_t count, uint64_t patience) {
    return board->read(data, count, patience);
}
API void nbqnn_run(Board* board, uint64_t cycles) { board->run(cycles); }
API uint64_t nbqnn_cycles(Board* board) { return board->cycles(); }
API unsigned nbqnn_leds(Board* board) { return board->leds(); }
