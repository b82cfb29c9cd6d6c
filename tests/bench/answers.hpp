// What the measured answers are made of, and the sum that tells that a body arrived byte for byte.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace gw::bench {

// Length and a sum over words of eight bytes (little endian, the last one filled up with zeros), each turned
// by the word before it: cheap enough for the upstream's side, and any changed, lost or moved byte changes
// it. tests/bench/bench.py computes the same.
class sum
{
public:
    void add(std::string_view bytes)
    {
        length_ += bytes.size();
        while (!bytes.empty()) {
            if (have_ == 0 && bytes.size() >= 8) {
                std::uint64_t word = 0;
                std::memcpy(&word, bytes.data(), 8);
                mix(word);
                bytes.remove_prefix(8);
                continue;
            }
            word_[have_++] = bytes.front();
            bytes.remove_prefix(1);
            if (have_ == 8) {
                flush();
            }
        }
    }
    [[nodiscard]] std::string text() const
    {
        sum last = *this;
        if (last.have_ != 0) {
            last.flush();
        }
        return std::to_string(length_) + "-" + std::to_string(last.value_);
    }

private:
    void mix(std::uint64_t word) { value_ = (value_ << 5U | value_ >> 59U) + word; }
    void flush()
    {
        std::uint64_t word = 0;
        std::memcpy(&word, word_, have_);
        mix(word);
        have_ = 0;
    }

    std::uint64_t length_ = 0;
    std::uint64_t value_ = 0;
    char word_[8] = {};
    std::size_t have_ = 0;
};

// 1.7 KB, as a chat model answers.
inline std::string chat_answer()
{
    std::string words;
    while (words.size() < 1450) {
        words += "lorem ipsum dolor sit amet ";
    }
    return R"({"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":[{"index":0,)"
           R"("message":{"role":"assistant","content":")" +
           words +
           R"("},"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":300,"total_tokens":500}})";
}

// One event of a chat stream, 120 bytes with its blank line.
inline std::string event(int number)
{
    std::string text =
        R"(data: {"object":"chat.completion.chunk","model":"m","choices":[{"index":0,"delta":{"content":")" +
        std::to_string(number % 10);
    const std::string_view end = "\"}}]}\n\n";
    text.append(120 - text.size() - end.size(), '.');
    text += end;
    return text;
}

} // namespace gw::bench
