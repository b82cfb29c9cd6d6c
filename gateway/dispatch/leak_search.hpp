// Looks for our own tokens in what an upstream says, so that no client ever reads one. Pure.
//
// What is looked for is what a careless server repeats: the token as it was sent, and as a URL or a JSON
// string would spell it where that differs (a Hugging Face token is letters, digits and `_`, so all three are
// one). Base64 is not looked for: no token travels as `Basic`, so nobody repeats one; and whoever wants to
// hide a token in an answer can do so in ways without number.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace gw::dispatch {

// The secrets that one origin gets to see. Made once per settings, read from any thread; cannot be printed.
class secret_set
{
public:
    static constexpr std::size_t shortest = 8; // less would be found by chance

    void add(std::string_view secret);
    [[nodiscard]] bool empty() const { return all_.empty(); }
    // Whether one of them stands in these bytes. One pass, however many there are, when they begin alike.
    [[nodiscard]] bool in(std::string_view bytes) const;

private:
    friend class leak_search;
    void add_spelling(std::string text);

    std::vector<std::string> all_;
    std::size_t common_ = 0; // how many bytes all of them begin with
    std::size_t longest_ = 0;
};

// The same over bytes that arrive in pieces. What may go on is handed back at once and never copied; only an
// end that is the beginning of a secret is held back until the next piece shows what it is: less than a
// secret's length, and spelled from the secret itself.
class leak_search
{
public:
    // REQUIRES the set outlives this object and every view it gave.
    explicit leak_search(const secret_set& of) : of_(&of) {}

    struct passed
    {
        bool leaked = false;     // stop: the rest is not looked at
        std::string_view first;  // held back before, may go now
        std::string_view second; // of the piece just fed
        [[nodiscard]] std::size_t size() const { return first.size() + second.size(); }
    };
    // `last`: nothing follows, so nothing is held back. Then the search is as new.
    [[nodiscard]] passed feed(std::string_view piece, bool last = false);

private:
    const secret_set* of_;
    std::size_t held_ = 0; // the first bytes of all_[which_]
    std::size_t which_ = 0;
    std::string joined_; // what was held and the beginning of a piece
};

} // namespace gw::dispatch
