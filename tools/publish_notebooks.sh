#!/bin/sh
# Pushes a folder as the branch that Binder and Colab open: sh tools/publish_notebooks.sh FOLDER
# Only if something has changed, since Binder makes an image for each commit.
set -eu
branch=refs/heads/notebooks

# An index of its own, so that the files of the checkout stay as they are.
git_dir=$(git rev-parse --absolute-git-dir)
GIT_INDEX_FILE=$git_dir/notebooks-index
export GIT_INDEX_FILE
trap 'rm -f "$GIT_INDEX_FILE"' EXIT
git -C "$1" --git-dir="$git_dir" --work-tree=. add --all --force .
tree=$(git write-tree)

parent=$(git ls-remote origin "$branch" | cut -f 1)
if [ -n "$parent" ]; then
    git fetch --quiet --depth=1 origin "$branch"
    if [ "$(git rev-parse "$parent^{tree}")" = "$tree" ]; then
        echo "The branch is what it would become."
        exit
    fi
fi
commit=$(git commit-tree "$tree" ${parent:+-p "$parent"} -m "Notebooks of $(git rev-parse HEAD)")
git push --quiet origin "$commit:$branch"
echo "The branch is now $commit."
