#include "dispatch/leak_search.hpp"

#include <algorithm>
#include <cstring>

namespace gw::dispatch {
namespace {

// Less of a common beginning stands everywhere, and looking for each by itself is faster.
constexpr std::size_t telling = 3;

std::size_t place_of(std::string_view bytes, std::string_view what, std::size_t from)
{
    if (bytes.size() - from < what.size()) {
        return std::string_view::npos; // and memmem() takes no null pointer, which an empty view may have
    }
    const void* const at = ::memmem(bytes.data() + from, bytes.size() - from, what.data(), what.size());
    return at == nullptr ? std::string_view::npos
                         : static_cast<std::size_t>(static_cast<const char*>(at) - bytes.data());
}

std::string in_url(std::string_view text)
{
    constexpr std::string_view digits = "0123456789ABCDEF";
    std::string made;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           std::string_view("-._~").contains(c);
        if (plain) {
            made += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        made += {'%', digits[byte >> 4U], digits[byte & 15U]};
    }
    return made;
}

std::string in_json(std::string_view text, std::string_view escaped)
{
    std::string made;
    for (const char c : text) {
        if (escaped.contains(c)) {
            made += '\\';
        }
        made += c;
    }
    return made;
}

} // namespace

void secret_set::add(std::string_view secret)
{
    if (secret.size() < shortest) {
        return;
    }
    add_spelling(std::string(secret));
    add_spelling(in_url(secret));
    add_spelling(in_json(secret, "\"\\"));
    add_spelling(in_json(secret, "\"\\/")); // PHP, and who follows it
}

void secret_set::add_spelling(std::string text)
{
    if (std::ranges::find(all_, text) != all_.end()) {
        return;
    }
    longest_ = std::max(longest_, text.size());
    if (all_.empty()) {
        common_ = text.size();
    }
    all_.push_back(std::move(text));
    const auto [one, other] = std::ranges::mismatch(all_.front(), all_.back());
    common_ = std::min(common_, static_cast<std::size_t>(one - all_.front().begin()));
}

bool secret_set::in(std::string_view bytes) const
{
    if (all_.empty()) {
        return false;
    }
    if (common_ < telling) {
        return std::ranges::any_of(all_, [&](const std::string& each) {
            return place_of(bytes, each, 0) != std::string_view::npos;
        });
    }
    const std::string_view common = std::string_view(all_.front()).substr(0, common_);
    for (std::size_t at = place_of(bytes, common, 0); at != std::string_view::npos;
         at = place_of(bytes, common, at + 1)) {
        const std::string_view rest = bytes.substr(at);
        if (std::ranges::any_of(all_, [&](const std::string& each) { return rest.starts_with(each); })) {
            return true;
        }
    }
    return false;
}

leak_search::passed leak_search::feed(std::string_view piece, bool last)
{
    if (of_->empty()) {
        return {.second = piece};
    }
    const auto& all = of_->all_;
    const std::string_view held = std::string_view(all[which_]).substr(0, held_);

    // One may lie across the cut, or in the piece itself.
    if (!held.empty()) {
        joined_.assign(held).append(piece.substr(0, of_->longest_ - 1));
    }
    if ((!held.empty() && of_->in(joined_)) || of_->in(piece)) {
        return {.leaked = true};
    }

    // The longest end that one of them begins with. A piece that is shorter than that goes together with what
    // was held.
    std::size_t keep = 0;
    std::size_t of = 0;
    const std::string_view end =
        !held.empty() && piece.size() < of_->longest_ - 1 ? std::string_view(joined_) : piece;
    for (std::size_t i = 0; !last && i < all.size(); ++i) {
        const std::string_view each = all[i];
        for (std::size_t size = std::min(each.size() - 1, end.size()); size > keep; --size) {
            if (end.ends_with(each.substr(0, size))) {
                keep = size;
                of = i;
            }
        }
    }
    const std::size_t of_piece = std::min(keep, piece.size());
    const passed made{
        .first = held.substr(0, held.size() - (keep - of_piece)),
        .second = piece.substr(0, piece.size() - of_piece),
    };
    held_ = keep;
    which_ = of;
    return made;
}

} // namespace gw::dispatch
