// The cases of tests/data/wire, given to the scanners alone: the verdict that the file says, and the same one
// for every split of the bytes into reads.
#include "case_file.hpp"
#include "splits.hpp"

#include "wire/chunked.hpp"
#include "wire/request_head.hpp"
#include "wire/target.hpp"

#include <gtest/gtest.h>

#include <set>

namespace gw::wire {
namespace {

const std::filesystem::path folder = GW_SOURCE_DIR "/tests/data/wire";

const std::map<std::string, pieces>& doors()
{
    static const auto read = read_doors(folder);
    return read;
}

std::vector<wire_case> all()
{
    std::vector<wire_case> made;
    for (const auto& each : std::filesystem::directory_iterator(folder)) {
        if (each.path().extension() == ".case") {
            made.push_back(read_case(each.path(), doors()));
        }
    }
    std::ranges::sort(made, {}, &wire_case::name);
    return made;
}

// What became of the messages on one connection, in order, and of the last one if it is not whole.
struct verdicts
{
    std::vector<std::string> said; // "accepted", or status and code of the refusal
    std::string payload;           // of all bodies
    bool incomplete = false;       // more bytes were wanted

    bool operator==(const verdicts&) const = default;
};

void PrintTo(const verdicts& what, std::ostream* out)
{
    for (const auto& each : what.said) {
        *out << each << ", ";
    }
    *out << (what.incomplete ? "incomplete, " : "") << what.payload.size() << " bytes of payload";
}

// Reads messages as a session does: heads from a growing buffer, bodies as they come.
class connection
{
public:
    explicit connection(std::size_t most) : most_(most) {}

    void arrive(std::string_view bytes)
    {
        held_ += bytes;
        while (!ended_ && now_.said.size() < most_ && step()) {
        }
    }

    [[nodiscard]] verdicts end()
    {
        now_.incomplete = !ended_ && now_.said.size() < most_ && (within_ || !held_.empty());
        return now_;
    }

private:
    // Whether something was done with what is held.
    bool step()
    {
        if (within_) {
            return body();
        }
        if (held_.empty()) {
            return false;
        }
        const exact seen{held_};
        auto scanned = scan_request_head(seen.view(), {}, head_);
        if (!scanned) {
            return refused(scanned.error());
        }
        if (!*scanned) {
            return false;
        }
        if (auto target = parse_target(head_.target); !target) {
            return refused(target.error());
        }
        left_ = head_.content_length;
        chunks_.reset();
        if (head_.body == framing::chunked) {
            chunks_.emplace(origin::client);
        }
        within_ = true;
        held_.erase(0, **scanned);
        return true;
    }

    bool body()
    {
        if (!chunks_) {
            const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, held_.size()));
            now_.payload += held_.substr(0, size);
            held_.erase(0, size);
            left_ -= size;
            return left_ == 0 ? whole() : false;
        }
        if (held_.empty()) {
            return false;
        }
        const exact seen{held_};
        auto step = chunks_->feed(seen.view());
        if (!step) {
            return refused(step.error());
        }
        now_.payload += step->payload;
        held_.erase(0, step->consumed);
        return chunks_->done() ? whole() : step->consumed != 0;
    }

    bool whole()
    {
        within_ = false;
        now_.said.emplace_back("accepted");
        return true;
    }

    bool refused(const failure& why)
    {
        EXPECT_TRUE(why.close) << "a refusal for framing that keeps the connection";
        EXPECT_EQ(why.from, origin::client);
        now_.said.push_back(std::to_string(why.http_status()) + ' ' + std::string(to_string(why.what)));
        ended_ = true;
        return false;
    }

    std::size_t most_; // messages that are looked at
    std::string held_;
    request_head head_;
    std::optional<chunk_decoder> chunks_;
    std::uint64_t left_ = 0;
    bool within_ = false; // a body
    bool ended_ = false;
    verdicts now_;
};

verdicts read_in(std::initializer_list<std::string_view> reads, std::size_t most)
{
    connection one(most);
    for (const auto each : reads) {
        one.arrive(each);
    }
    return one.end();
}

bool is_of_scanners(const wire_case& one, const wire_case::reply& reply, std::string_view bytes)
{
    static const std::set<std::string, std::less<>> codes{
        "bad_framing",
        "bad_chunk",
        "bad_version",
        "unknown_method",
        "target_too_long",
        "header_too_large",
        "unsupported_coding",
        "expectation_failed",
    };
    if (reply.code == "method_not_allowed") { // else a door says it
        return bytes.starts_with("TRACE ") || bytes.starts_with("CONNECT ");
    }
    return codes.contains(reply.code) && !one.accepted_by_scanner;
}

class Cases : public testing::TestWithParam<wire_case>
{
};

TEST_P(Cases, AreReadAsTheFileSays)
{
    const auto& one = GetParam();
    for (const auto& door : one.doors) {
        const auto bytes = unescape(one.text, doors().at(door));
        const auto seen = read_in({bytes}, one.replies.empty() ? 1 : one.replies.size());
        if (one.replies.empty()) { // nobody is answered: the client left before its message was whole
            EXPECT_TRUE(seen.incomplete && seen.said.empty()) << door << ": " << testing::PrintToString(seen);
            continue;
        }
        for (std::size_t at = 0; at < one.replies.size(); ++at) {
            const auto& reply = one.replies[at];
            const bool answered_early = at + 1 == one.replies.size() && seen.said.size() == at && one.closed;
            if (!is_of_scanners(one, reply, bytes)) {
                EXPECT_TRUE(answered_early || (at < seen.said.size() && seen.said[at] == "accepted"))
                    << door << ": " << testing::PrintToString(seen);
                continue;
            }
            const auto fits = [&](int status) {
                return at < seen.said.size() && seen.said[at] == std::to_string(status) + ' ' + reply.code;
            };
            EXPECT_TRUE(std::ranges::any_of(reply.statuses, fits))
                << door << ": " << testing::PrintToString(seen) << " and not " << reply.code;
        }
    }
}

TEST_P(Cases, AreReadTheSameHoweverTheyAreSplit)
{
    const auto& one = GetParam();
    const auto bytes = unescape(one.text, doors().at(one.doors.front()));
    const std::string_view all = bytes;
    const std::size_t most = one.replies.size() + 1;
    const auto whole = read_in({all}, most);

    // Of long ones, the middle is cut at some places only.
    const auto matters = [&](std::size_t at) {
        return all.size() < 1500 || at < 400 || at + 200 > all.size() || at % 997 == 0;
    };
    connection in_bytes(most);
    std::size_t given = 0;
    for (std::size_t at = 0; at <= all.size(); ++at) {
        if (!matters(at)) {
            continue;
        }
        ASSERT_EQ(read_in({all.substr(0, at), all.substr(at)}, most), whole) << "cut before byte " << at;
        in_bytes.arrive(all.substr(given, at - given));
        given = at;
    }
    EXPECT_EQ(in_bytes.end(), whole) << "byte by byte";
}

INSTANTIATE_TEST_SUITE_P(Wire, Cases, testing::ValuesIn(all()), [](const auto& each) {
    return each.param.name;
});

// The measure of the test itself: a reader that finds nothing would pass everything.
TEST(CaseFiles, AreThere)
{
    EXPECT_GT(all().size(), 300U);
    EXPECT_EQ(
        unescape(R"(a\r\n\t\0\\\x7f\*3(\xff-))", {}), std::string("a\r\n\t\0\\\x7f\xff-\xff-\xff-", 13)
    );
    EXPECT_EQ(unescape(R"(\<x>\<x>)", {{"x", "y"}}), "yy");
    EXPECT_THROW((void)unescape(R"(\q)", {}), std::invalid_argument);
    EXPECT_THROW((void)unescape(R"(\<no>)", {}), std::invalid_argument);
}

} // namespace

void PrintTo(const wire_case& one, std::ostream* out)
{
    *out << one.name;
}

} // namespace gw::wire
