// The answers of tests/data/wire/upstream, given to the scanners alone: the verdict that the file says, and
// the same one, with the same content, for every split of the bytes into reads.
#include "case_file.hpp"
#include "splits.hpp"

#include "wire/chunked.hpp"
#include "wire/response_head.hpp"

#include <gtest/gtest.h>

namespace gw::wire {
namespace {

struct upstream_case
{
    std::string name;
    std::string parse;
    std::string bytes;
};

std::vector<upstream_case> all()
{
    std::vector<upstream_case> made;
    for (const auto& file : std::filesystem::directory_iterator(GW_SOURCE_DIR "/tests/data/wire/upstream")) {
        upstream_case one{.name = file.path().stem().string(), .parse = {}, .bytes = {}};
        std::ifstream in(file.path());
        std::string line;
        while (std::getline(in, line) && line != "--") {
            if (const auto [name, value] = name_and_value(line); name == "parse") {
                one.parse = value;
            }
        }
        std::string text;
        while (std::getline(in, line)) {
            text += line;
        }
        one.bytes = unescape(text, {{"token", "hf_canary_0123456789"}});
        made.push_back(std::move(one));
    }
    std::ranges::sort(made, {}, &upstream_case::name);
    return made;
}

// One connection as an exchange reads it, fed piece by piece.
class reading
{
public:
    void feed(std::string_view piece)
    {
        held_ += piece;
        while (step()) {
        }
    }
    // What came of it when nothing more comes: refused, cut, whole or more (the head is not whole).
    [[nodiscard]] std::string verdict() const
    {
        if (!refused_.empty()) {
            return content_.empty() ? "refused" : "cut";
        }
        if (!have_head_) {
            return "more";
        }
        const bool whole = done_ || head_.body == framing::until_close;
        return whole ? "whole" : "cut";
    }
    [[nodiscard]] std::string all() const
    {
        return verdict() + " " + std::to_string(status_) + " " + std::to_string(interim_) + " [" + content_ +
               "] " + refused_ + " " + (verdict() == "whole" ? held_ : "");
    }

private:
    bool step()
    {
        if (!refused_.empty() || done_) {
            return false;
        }
        if (!have_head_) {
            const exact seen(held_);
            const auto scanned = scan_response_head(seen.view(), response_limits, head_);
            if (!scanned) {
                refused_ = scanned.error().detail;
                return false;
            }
            if (!*scanned) {
                return false;
            }
            held_.erase(0, **scanned);
            status_ = head_.status;
            if (head_.interim()) {
                if (++interim_ > 8) {
                    refused_ = "too many interim responses";
                }
                return true;
            }
            have_head_ = true;
            left_ = head_.content_length;
            done_ = head_.body == framing::none || (head_.body == framing::sized && left_ == 0);
            return true;
        }
        if (head_.body == framing::chunked) {
            const exact seen(held_);
            const auto got = chunks_.feed(seen.view());
            if (!got) {
                refused_ = got.error().detail;
                return false;
            }
            content_ += got->payload;
            held_.erase(0, got->consumed);
            done_ = chunks_.done();
            return got->consumed != 0;
        }
        const auto size = head_.body == framing::sized
                              ? static_cast<std::size_t>(std::min<std::uint64_t>(left_, held_.size()))
                              : held_.size();
        content_ += held_.substr(0, size);
        held_.erase(0, size);
        left_ -= head_.body == framing::sized ? size : 0;
        done_ = head_.body == framing::sized && left_ == 0;
        return false;
    }

    std::string held_;
    std::string content_;
    std::string refused_;
    response_head head_;
    chunk_decoder chunks_{origin::upstream};
    std::uint64_t left_ = 0;
    int status_ = 0;
    int interim_ = 0;
    bool have_head_ = false;
    bool done_ = false;
};

TEST(upstream_cases, say_what_their_files_say_at_every_split)
{
    const auto cases = all();
    ASSERT_GT(cases.size(), 50U);
    for (const auto& one : cases) {
        SCOPED_TRACE(one.name);
        reading at_once;
        at_once.feed(one.bytes);
        if (one.parse != "interim") { // whether they are too many is not the scanner's to say
            EXPECT_EQ(at_once.verdict(), one.parse);
        }

        const std::string_view bytes = one.bytes;
        const bool large = bytes.size() > 4096;
        for (std::size_t cut = 1; cut < bytes.size(); cut += large ? 4093 : 1) {
            reading two;
            two.feed(bytes.substr(0, cut));
            two.feed(bytes.substr(cut));
            ASSERT_EQ(two.all(), at_once.all()) << "cut behind " << cut << " bytes";
        }
        reading in_pieces;
        const std::size_t piece = large ? 1021 : 1;
        for (std::size_t at = 0; at < bytes.size(); at += piece) {
            in_pieces.feed(bytes.substr(at, piece));
        }
        EXPECT_EQ(in_pieces.all(), at_once.all()) << "in pieces of " << piece;
    }
}

} // namespace
} // namespace gw::wire
