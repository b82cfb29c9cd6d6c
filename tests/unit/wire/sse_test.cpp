#include "wire/sse.hpp"

#include "splits.hpp"

#include <string>
#include <vector>

namespace gw::wire {
namespace {

// An event without views; the parts of an oversize one are joined.
struct kept
{
    std::string raw;
    std::string name;
    std::string data;
    bool has_data = false;
    bool is_comment = false;
    bool oversize = false;
    bool complete = true;

    friend bool operator==(const kept&, const kept&) = default;
    friend void PrintTo(const kept& e, std::ostream* out)
    {
        *out << "{raw " << testing::PrintToString(e.raw) << ", name " << e.name << ", data "
             << testing::PrintToString(e.data) << (e.has_data ? ", has_data" : "")
             << (e.is_comment ? ", comment" : "") << (e.oversize ? ", oversize" : "")
             << (e.complete ? "" : ", incomplete") << "}";
    }
};

void keep(std::vector<kept>& into, const sse_event& each)
{
    if (each.oversize && !into.empty() && into.back().oversize && !into.back().complete) {
        into.back().raw += each.raw;
        into.back().complete = each.complete;
        return;
    }
    into.push_back(
        {std::string{each.raw},
         std::string{each.name},
         std::string{each.data},
         each.has_data,
         each.is_comment,
         each.oversize,
         each.complete}
    );
}

std::vector<kept>
split(std::string_view stream, std::size_t piece, std::size_t limit = sse_splitter::default_limit)
{
    std::vector<kept> events;
    sse_splitter splitter{limit};
    for (std::size_t at = 0; at < stream.size(); at += piece) {
        const exact block{stream.substr(at, piece)};
        splitter.push(block.view());
        while (const auto each = splitter.next()) {
            keep(events, *each);
        }
    }
    if (const auto last = splitter.finish()) {
        keep(events, *last);
    }
    return events;
}

TEST(sse, cuts_events_and_reads_them)
{
    const std::vector<kept> events =
        split("data: {\"a\":1}\n\n: ping\n\nevent: error\ndata:x\nid: 7\n\ndata: [DONE]\n\n", 4096);
    ASSERT_EQ(events.size(), 4u);
    EXPECT_EQ(events[0], (kept{.raw = "data: {\"a\":1}\n\n", .data = "{\"a\":1}", .has_data = true}));
    EXPECT_EQ(events[1], (kept{.raw = ": ping\n\n", .is_comment = true}));
    EXPECT_EQ(
        events[2],
        (kept{.raw = "event: error\ndata:x\nid: 7\n\n", .name = "error", .data = "x", .has_data = true})
    );
    EXPECT_EQ(events[3], (kept{.raw = "data: [DONE]\n\n", .data = "[DONE]", .has_data = true}));
}

TEST(sse, reads_fields_as_the_standard_says)
{
    EXPECT_EQ(split("data:  two spaces\n\n", 99)[0].data, " two spaces");
    EXPECT_EQ(split("data:a\ndata: b\ndata\ndata:\n\n", 99)[0].data, "a\nb\n\n");
    EXPECT_EQ(split("data: a: b\n\n", 99)[0].data, "a: b");
    EXPECT_EQ(split("event: x\nevent: y\n\n", 99)[0].name, "y");
    const kept empty_data = split("data\n\n", 99)[0];
    EXPECT_TRUE(empty_data.has_data);
    EXPECT_EQ(empty_data.data, "");
    const kept other = split("id: 1\nretry: 2\ndatax: 3\nDATA: 4\n data: 5\n\n", 99)[0];
    EXPECT_FALSE(other.has_data);
    EXPECT_FALSE(other.is_comment);
}

TEST(sse, accepts_every_line_end)
{
    for (const std::string_view end : {"\n", "\r\n", "\r"}) {
        std::string stream;
        for (const std::string_view line : {"event: a", "data: 1", "data: 2", "", ": c", "", "data: 3", ""}) {
            stream.append(line).append(end);
        }
        for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
            const std::vector<kept> events = split(stream, piece);
            ASSERT_EQ(events.size(), 3u) << testing::PrintToString(stream) << " in pieces of " << piece;
            EXPECT_EQ(events[0].name, "a");
            EXPECT_EQ(events[0].data, "1\n2");
            EXPECT_TRUE(events[1].is_comment);
            EXPECT_EQ(events[2].data, "3");
            EXPECT_TRUE(events[2].complete);
            EXPECT_EQ(events[0].raw + events[1].raw + events[2].raw, stream);
        }
    }
}

TEST(sse, gives_an_event_as_soon_as_it_is_complete)
{
    for (const std::string_view event : {"data: 1\n\n", "data: 1\r\n\r\n", "data: 1\r\r"}) {
        sse_splitter splitter;
        for (int round = 0; round < 3; ++round) { // without a byte of what follows
            splitter.push(event);
            const auto got = splitter.next();
            ASSERT_TRUE(got) << testing::PrintToString(std::string{event}) << " in round " << round;
            EXPECT_EQ(got->raw, event);
            EXPECT_FALSE(splitter.next());
        }
    }
}

TEST(sse, copies_only_what_a_block_cuts)
{
    const std::string stream = "data: one\n\ndata: two\n\n";
    sse_splitter splitter;
    splitter.push(stream);
    const auto first = splitter.next();
    ASSERT_TRUE(first);
    EXPECT_EQ(first->raw.data(), stream.data());
    EXPECT_EQ(first->data.data(), stream.data() + 6);
    const auto second = splitter.next();
    ASSERT_TRUE(second);
    EXPECT_EQ(second->raw.data(), stream.data() + 11);
}

TEST(sse, skips_a_byte_order_mark)
{
    for (std::size_t piece = 1; piece < 20; ++piece) {
        const std::vector<kept> events = split(
            "\xef\xbb\xbf"
            "data: 1\n\ndata: 2\n\n",
            piece
        );
        ASSERT_EQ(events.size(), 2u);
        EXPECT_EQ(events[0].raw, "data: 1\n\n");
        // what only resembles one stays
        EXPECT_EQ(
            split(
                "\xef\xbb"
                "data: 1\n\n",
                piece
            )[0]
                .raw,
            "\xef\xbb"
            "data: 1\n\n"
        );
    }
    EXPECT_EQ(split("\xef\xbb", 1)[0].raw, "\xef\xbb");
    EXPECT_EQ(
        split(
            "data: 1\n\n\xef\xbb\xbf"
            "data: 2\n\n",
            99
        )[1]
            .has_data,
        false
    ) << "only at the very start";
}

TEST(sse, hands_out_what_is_left_at_the_end)
{
    for (std::size_t piece = 1; piece < 20; ++piece) {
        const std::vector<kept> events = split("data: 1\n\ndata: 2", piece);
        ASSERT_EQ(events.size(), 2u);
        EXPECT_EQ(events[1], (kept{.raw = "data: 2", .data = "2", .has_data = true, .complete = false}));
    }
    EXPECT_TRUE(split("data: 1\n\n", 3).back().complete);
    EXPECT_TRUE(split("data: 1\n\r", 3).back().complete) << "the end shows that no LF follows";
    EXPECT_FALSE(split("data: 1\r", 3).back().complete);
    EXPECT_TRUE(split("", 1).empty());
}

TEST(sse, is_as_new_after_the_end)
{
    sse_splitter splitter;
    splitter.push("data: 1\ndata: 2");
    EXPECT_FALSE(splitter.next());
    ASSERT_TRUE(splitter.finish());
    splitter.push("\xef\xbb\xbf"
                  "data: 3\n\n");
    const auto event = splitter.next();
    ASSERT_TRUE(event);
    EXPECT_EQ(event->raw, "data: 3\n\n");
}

TEST(sse, passes_an_oversize_event_on_in_parts)
{
    const std::string big = "data: " + std::string(100, 'x') + "\n\n";
    const std::string stream = "data: 1\n\n" + big + "data: 2\n\n";
    for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
        const std::vector<kept> events = split(stream, piece, 64);
        ASSERT_EQ(events.size(), 3u) << "in pieces of " << piece;
        EXPECT_EQ(events[0].data, "1");
        EXPECT_EQ(events[1], (kept{.raw = big, .oversize = true}));
        EXPECT_EQ(events[2].data, "2");
    }
}

TEST(sse, draws_the_line_exactly_at_the_limit)
{
    for (const std::string_view end : {"\n\n", "\r\n\r\n", "\r\r"}) {
        const std::string event = "data: " + std::string(20, 'x') + std::string{end};
        const std::string stream = event + event + event;
        for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
            for (const kept& each : split(stream, piece, event.size())) {
                EXPECT_FALSE(each.oversize);
                EXPECT_EQ(each.raw, event);
            }
            const std::vector<kept> events = split(stream, piece, event.size() - 1);
            ASSERT_EQ(events.size(), 3u);
            for (const kept& each : events) {
                EXPECT_TRUE(each.oversize);
                EXPECT_EQ(each.raw, event);
            }
        }
    }
}

// Every short stream over the bytes that matter, in every size of pieces, with limits around the sizes.
TEST(sse, says_the_same_however_the_stream_is_split)
{
    constexpr std::string_view alphabet = "\n\r:d";
    for (std::size_t size = 1; size <= 6; ++size) {
        std::size_t count = 1;
        for (std::size_t i = 0; i < size; ++i) {
            count *= alphabet.size();
        }
        for (std::size_t number = 0; number < count; ++number) {
            std::string stream;
            for (std::size_t i = 0, rest = number; i < size; ++i, rest /= alphabet.size()) {
                stream.push_back(alphabet[rest % alphabet.size()]);
            }
            for (const std::size_t limit : {2u, 3u, 64u}) {
                const std::vector<kept> whole = split(stream, size, limit);
                std::string joined;
                for (const kept& each : whole) {
                    joined += each.raw;
                }
                ASSERT_EQ(joined, stream);
                for (std::size_t piece = 1; piece < size; ++piece) {
                    ASSERT_EQ(split(stream, piece, limit), whole)
                        << testing::PrintToString(stream) << " in pieces of " << piece << ", limit " << limit;
                }
            }
        }
    }
}

} // namespace
} // namespace gw::wire
