//! Values by contract number. Numbers are dense, so they index.

/// A map from contract numbers, in their order; 0 stands for no contract.
#[derive(Clone, Debug)]
pub(super) struct Dense<T>(Vec<Option<T>>);

impl<T> Default for Dense<T> {
    fn default() -> Dense<T> {
        Dense(Vec::new())
    }
}

impl<T: Default> Dense<T> {
    fn place(contract_no: i64) -> usize {
        usize::try_from(contract_no).unwrap_or(0)
    }

    /// The value of a contract, made if there is none.
    pub(super) fn entry(&mut self, contract_no: i64) -> &mut T {
        let place = Dense::<T>::place(contract_no);
        if place >= self.0.len() {
            self.0.resize_with(place + 1, || None);
        }
        self.0[place].get_or_insert_default()
    }

    pub(super) fn get_mut(&mut self, contract_no: i64) -> Option<&mut T> {
        self.0.get_mut(Dense::<T>::place(contract_no))?.as_mut()
    }

    pub(super) fn get(&self, contract_no: i64) -> Option<&T> {
        self.0.get(Dense::<T>::place(contract_no))?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, &T)> {
        (0_i64..)
            .zip(&self.0)
            .filter_map(|(no, value)| Some((no, value.as_ref()?)))
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.0.into_iter().flatten()
    }
}
